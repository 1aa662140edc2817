"""The whole way with real tokenizers and the bundled alignment, checked against the text itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import transformers
from pipeline_standins import prepare
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tide_core.data import PreparedData, RowSide, collate, workers
from tide_plugins.alignments import ByteChunks
from tide_plugins.datasets import JsonLines, PythonStandardLibrary
from tide_plugins.tokenizers.huggingface import HuggingFaceTokenizer
from tide_specs import DataError, TextTokenizer

CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def wrapped(tokenizer: Tokenizer) -> HuggingFaceTokenizer:
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        mask_token="<|mask|>",
        bos_token="<|begin|>",
    )
    fast.chat_template = CHAT
    return HuggingFaceTokenizer(fast, mask_token_id=fast.mask_token_id)


SPECIAL = ["<|end|>", "<|pad|>", "<|mask|>", "<|begin|>", "<|user|>", "<|assistant|>"]


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    examples = PythonStandardLibrary(max_examples=150).examples("train")
    return ["".join(message.content for message in example.messages) for example in examples]


@pytest.fixture(scope="module")
def byte_level(corpus: list[str]) -> HuggingFaceTokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return wrapped(tokenizer)


@pytest.fixture(scope="module")
def word_piece(corpus: list[str]) -> HuggingFaceTokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[UNK]", *SPECIAL], show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    return wrapped(tokenizer)


def prepared(
    cache: Path,
    dataset: PythonStandardLibrary | JsonLines,
    student: TextTokenizer,
    teacher: TextTokenizer,
    **options: int,
) -> PreparedData:
    return prepare(
        dataset,
        "train",
        student=student,
        teacher=teacher,
        alignment=ByteChunks(),
        length_multiple=16,
        cache_directory=str(cache),
        **options,
    )


def spelled(tokenizer: TextTokenizer, side: RowSide, tokens: np.ndarray) -> bytes:
    return b"".join(tokenizer.token_bytes()[token] or b"" for token in side.ids[tokens].tolist())


def test_chunks_of_the_two_sides_spell_the_same_text(
    tmp_path: Path, byte_level: HuggingFaceTokenizer, word_piece: HuggingFaceTokenizer
) -> None:
    dataset = PythonStandardLibrary(max_examples=60, max_length=96, teacher_max_length=112)
    data = prepared(tmp_path, dataset, byte_level, word_piece, workers=0)
    compared = 0
    for row in data.rows(range(len(data))):
        assert row.teacher is not None
        for chunk, size in enumerate(row.chunk_bytes.tolist()):
            one = spelled(byte_level, row.student, row.student.chunk == chunk).decode()
            two = spelled(word_piece, row.teacher, row.teacher.chunk == chunk).decode()
            assert len(one.encode()) == size
            if "[UNK]" not in two:
                assert "".join(one.split()).lower() == "".join(two.split()).lower()
                compared += 1
    assert compared > 1000
    assert data.report.truncated > 0
    assert data.report.teacher_truncated > 0
    assert data.report.fill > 0


def test_the_trained_text_is_the_response_up_to_the_window(tmp_path: Path, byte_level: HuggingFaceTokenizer) -> None:
    dataset = PythonStandardLibrary(max_examples=40, max_length=128)
    examples = list(dataset.examples("train"))
    data = prepared(tmp_path, dataset, byte_level, byte_level, workers=0)
    for row in data.rows(range(len(data))):
        prompt, body = (message.content.encode() for message in examples[row.sample].messages)
        side = row.student
        assert spelled(byte_level, side, ~side.maskable) == prompt
        trained = spelled(byte_level, side, side.maskable)
        assert trained == body if len(side.ids) < 128 else body.startswith(trained)
        assert len(side.ids) % 16 == 0
    assert data.report.truncated > 0


def test_a_conversation_trains_on_what_the_assistant_says(tmp_path: Path, byte_level: HuggingFaceTokenizer) -> None:
    turns = [("user", "What is 2 + 2?"), ("assistant", "Four."), ("user", "Sure?"), ("assistant", "Yes, four.")]
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]}))
    data = prepared(tmp_path, JsonLines(path=str(path), evaluation_fraction=0), byte_level, byte_level, workers=0)
    (row,) = data.rows([0])
    assert spelled(byte_level, row.student, row.student.maskable) == b"Four.Yes, four."
    ends = row.student.ids == byte_level.end_of_turn_token_id
    assert row.student.maskable[ends].any(), "where to stop is learned too"
    chunks = set(row.student.chunk[ends].tolist()) - {-1}
    assert [row.chunk_bytes[chunk] for chunk in sorted(chunks)] == [0, 0]


def test_a_broken_line_stops_the_preparation_with_its_number(tmp_path: Path, byte_level: HuggingFaceTokenizer) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text('{"text": "fine"}\n{"text": 1}\n')
    dataset = JsonLines(path=str(path), evaluation_fraction=0)
    with pytest.raises(DataError, match=r"chat.jsonl:2: 'text' must be a string"):
        prepared(tmp_path, dataset, byte_level, byte_level, workers=0)


def test_a_mask_token_that_is_an_ordinary_word_is_found(tmp_path: Path, byte_level: HuggingFaceTokenizer) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text('{"text": "a <|mask|> spelled out"}\n{"text": "def f"}\n')
    dataset = JsonLines(path=str(path), evaluation_fraction=0)
    assert len(prepared(tmp_path, dataset, byte_level, byte_level, workers=0)) == 2
    word = byte_level.tokenizer.convert_tokens_to_ids("def")
    masked_by_word = HuggingFaceTokenizer(byte_level.tokenizer, mask_token_id=word)
    with pytest.raises(DataError, match=r"chat.jsonl:2.*mask token") as caught:
        prepared(tmp_path, dataset, masked_by_word, byte_level, workers=0)
    assert "def" in str(caught.value)


def test_worker_processes_batch_like_this_one(
    tmp_path: Path,
    byte_level: HuggingFaceTokenizer,
    word_piece: HuggingFaceTokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = PythonStandardLibrary(max_examples=300, max_length=128)
    here = prepared(tmp_path / "a", dataset, byte_level, word_piece, workers=0)
    monkeypatch.setattr(workers, "SMALL", 0)
    there = prepared(tmp_path / "b", dataset, byte_level, word_piece, workers=1)
    assert here.report == there.report
    batches = [
        collate(data.rows(range(0, 8)), positions=range(8), effective_size=8, student_pad=1, teacher_pad=1, bucket=64)
        for data in (here, there)
    ]
    assert batches[0].student.ids.tolist() == batches[1].student.ids.tolist()
    assert batches[0].student.chunk.tolist() == batches[1].student.chunk.tolist()
    assert batches[0].student.ids.shape[1] % 64 == 0
