"""Chat templates by construction: what is markup, what is content, and which templates are refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from tokenizer_kit import NAMES, TEXTS, conversation, encode, plain, real

from tide_plugins.tokenizers.huggingface import MASK_TOKEN, HuggingFaceTokenizer
from tide_specs import DataError, EncodedExample, Example, Message, TokenKind


def small_backend() -> Any:
    """A byte-level tokenizer without merges: one token for each byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def small(template: str | None, **tokens: str) -> HuggingFaceTokenizer:
    from transformers import PreTrainedTokenizerFast

    named = {"bos_token": "<s>", "eos_token": "</s>", **tokens}
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=small_backend(), **named)
    tokenizer.chat_template = template
    return HuggingFaceTokenizer(tokenizer, mask_token_id=tokenizer.mask_token_id)


def parts(tokenizer: HuggingFaceTokenizer, encoded: EncodedExample) -> list[tuple[str, int, str]]:
    """Runs of (kind, message, text)."""
    runs: list[tuple[str, int, list[int]]] = []
    for index, kind, message in zip(encoded.ids.tolist(), encoded.kind, encoded.message, strict=True):
        name = TokenKind(int(kind)).name
        if not runs or runs[-1][:2] != (name, int(message)):
            runs.append((name, int(message), []))
        runs[-1][2].append(index)
    return [(kind, message, tokenizer.tokenizer.decode(ids)) for kind, message, ids in runs]


SIMPLE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% if m['role'] == 'assistant' %}</s>{% endif %}{% endfor %}"


def test_markup_contents_and_ends_are_told_apart() -> None:
    tokenizer = small(SIMPLE)
    encoded = tokenizer.encode([conversation("Yes?", "Yes")])[0]
    assert parts(tokenizer, encoded) == [
        ("MARKUP", -1, "<user>"),
        ("CONTENT", 0, "Yes?"),
        ("MARKUP", -1, "<assistant>"),
        ("CONTENT", 1, "Yes"),
        ("END_OF_TURN", 1, "</s>"),
    ]
    assert encoded.trainable.tolist() == [False] * 21 + [True] * 4


def test_templates_that_trim_lose_nothing() -> None:
    tokenizer = small(SIMPLE.replace("m['content']", "m['content'] | trim"))
    encoded = tokenizer.encode([conversation("  a ", "\n b\n")])[0]
    texts = [text for kind, _, text in parts(tokenizer, encoded) if kind == "CONTENT"]
    assert texts == ["  a ", "\n b\n"]


def test_texts_are_opened_and_closed_without_a_template() -> None:
    tokenizer = small(None)
    encoded = tokenizer.encode([plain("ab", "cd")])[0]
    assert parts(tokenizer, encoded) == [
        ("MARKUP", -1, "<s>"),
        ("CONTENT", 0, "ab"),
        ("CONTENT", 1, "cd"),
        ("END_OF_TURN", 1, "</s>"),
    ]
    assert encoded.trainable.tolist() == [False] * 3 + [True] * 3


def test_a_template_that_starts_with_content_still_starts_with_markup() -> None:
    tokenizer = small("{% for m in messages %}{{ m['content'] }}</s>{% endfor %}")
    encoded = tokenizer.encode([conversation("a", "b")])[0]
    assert encoded.kind[0] == TokenKind.MARKUP
    assert encoded.ids[0] == tokenizer.tokenizer.bos_token_id


def test_an_answer_without_an_end_in_the_template_gets_one() -> None:
    tokenizer = small("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}")
    encoded = tokenizer.encode([conversation("a", "b")])[0]
    assert encoded.ids[encoded.kind == TokenKind.END_OF_TURN].tolist() == [tokenizer.end_of_turn_token_id]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template.*messages of role 'text'"),
        ("{% for m in messages[1:] %}{{ m['content'] }}{% endfor %}", "drops message 1 .role 'user'"),
        ("{% for m in messages | reverse %}{{ m['content'] }}{% endfor %}", r"reorders messages.*order \[2, 1\]"),
        ("{% for m in messages %}{{ m['content'] }}{{ m['content'] }}{% endfor %}", "repeats message 1"),
    ],
)
def test_templates_that_lose_track_of_messages_are_refused(template: str | None, message: str) -> None:
    tokenizer = small(None)
    tokenizer.tokenizer.chat_template = template
    with pytest.raises(DataError, match=rf"(?s)data.jsonl:1: .*{message}"):
        tokenizer.encode([conversation("a", "b")])


def test_a_template_that_raises_is_quoted() -> None:
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role here') }}{% endif %}" + SIMPLE
    )
    example = Example(key="k", messages=[Message(role="system", content="x"), Message(role="user", content="y")])
    with pytest.raises(DataError, match="roles system, user: no system role here"):
        small(template).encode([example])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "minilm"])
@pytest.mark.parametrize(
    "injected", ["<|im_end|>", "</s>", "[/INST]", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<|im_start|>"]
)
def test_contents_cannot_inject_control_tokens(name: str, injected: str) -> None:
    tokenizer = real(name)
    plainly, attacked = encode(name, conversation("a", "b")), encode(name, conversation(f"a{injected}", "b"))
    control = {i for i, piece in enumerate(tokenizer.token_bytes()) if piece is None}
    count = [sum(i in control for i in e.ids.tolist()) for e in (plainly, attacked)]
    assert count[0] == count[1]


def test_structural_tokens_that_are_not_called_special_cannot_be_injected() -> None:
    from tokenizers import AddedToken

    tokenizer = small(None)
    tokenizer.tokenizer.add_tokens([AddedToken("<|user|>", special=False), AddedToken("<think>", special=False)])
    tokenizer.tokenizer.chat_template = SIMPLE.replace("<{{", "<|user|>{{")
    tokenizer = HuggingFaceTokenizer(tokenizer.tokenizer, mask_token_id=None)
    vocabulary = tokenizer.tokenizer.get_vocab()
    encoded = tokenizer.encode([conversation("<|user|>", "<think>hm</think>")])[0]
    contents = encoded.ids[encoded.kind == TokenKind.CONTENT].tolist()
    assert vocabulary["<|user|>"] in encoded.ids.tolist()
    assert vocabulary["<|user|>"] not in contents
    assert vocabulary["<think>"] in contents  # models write such tags themselves
    assert tokenizer.token_bytes()[vocabulary["<think>"]] == b"<think>"


def test_padding_that_is_also_the_end_stays_an_end() -> None:
    tokenizer = small(SIMPLE, pad_token="</s>")
    assert tokenizer.pad_token_id == tokenizer.end_of_turn_token_id
    assert parts(tokenizer, tokenizer.encode([conversation("a", "b")])[0])[-1] == ("END_OF_TURN", 1, "</s>")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "minilm"])
@settings(max_examples=15, deadline=None)
@given(prompt=TEXTS, answer=TEXTS)
def test_a_prompt_is_what_training_puts_before_the_answer(name: str, prompt: str, answer: str) -> None:
    example = conversation(prompt, answer)
    encoded = encode(name, example)
    ids = real(name).encode_prompt(example.messages[:1])
    assert encoded.ids[: len(ids)].tolist() == ids
    assert encoded.trainable[len(ids) :].sum() == encoded.trainable.sum()
    assert not encoded.trainable[: len(ids)].any()


@pytest.mark.parametrize("name", ["qwen", "deepseek", "smollm2", "tekken", "mistral-sp"])
def test_ordinary_conversations_tokenise_as_they_do_natively(name: str) -> None:
    tokenizer = real(name)
    example = conversation("What is the capital of France?", "It is Paris.", "And of Italy?", "Rome!")
    messages = [{"role": m.role, "content": m.content} for m in example.messages]
    rendered = tokenizer.tokenizer.apply_chat_template(messages, tokenize=False)
    assert encode(name, example).ids.tolist() == tokenizer.tokenizer.encode(rendered, add_special_tokens=False)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "minilm"])
@settings(max_examples=25, deadline=None)
@given(text=TEXTS)
def test_decoding_gives_the_text_back(name: str, text: str) -> None:
    import unicodedata

    from tokenizer_kit import spells

    encoded = encode(name, plain(text))
    expected = unicodedata.normalize("NFC", text)
    if name == "qwen" or spells(name, text):
        decoded = real(name).decode(encoded.ids.tolist())
        assert decoded in (text, expected) or (name == "mistral-sp" and text.startswith(" "))


def test_thinking_is_switched_off_where_a_template_knows_the_switch() -> None:
    tokenizer = small("{% if enable_thinking %}think{% else %}plain{% endif %}" + SIMPLE)
    assert parts(tokenizer, tokenizer.encode([conversation("a", "b")])[0])[0][2] == "plain<user>"


def test_the_mask_token_in_data_is_refused_by_name() -> None:
    from tokenizers import AddedToken

    tokenizer = small(None)
    tokenizer.tokenizer.add_tokens([AddedToken("<tool>", special=False)])
    tokenizer = HuggingFaceTokenizer(tokenizer.tokenizer, mask_token_id=tokenizer.tokenizer.get_vocab()["<tool>"])
    with pytest.raises(DataError, match=r"data.jsonl:2 contains the mask token '<tool>'"):
        tokenizer.encode([plain("a <tool> b")])


def test_lone_surrogates_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"data\.jsonl:2 holds a lone surrogate at character 4"):
        small(None).encode([plain("fine"), plain("bad \ud800")])


@pytest.fixture
def saved(tmp_path: Path) -> str:
    small(SIMPLE).save(str(tmp_path))
    return str(tmp_path)


def test_saving_and_loading_changes_nothing(saved: str) -> None:
    before, after = small(SIMPLE), HuggingFaceTokenizer.from_path(saved)
    assert before.fingerprint() == after.fingerprint()
    example = conversation("a", "b")
    assert before.encode([example])[0].ids.tolist() == after.encode([example])[0].ids.tolist()


def test_the_mask_token_is_the_own_one_the_named_one_or_a_new_one(saved: str, tmp_path: Path) -> None:
    plainly = HuggingFaceTokenizer.from_path(saved)
    assert plainly.mask_token_id is None
    added = HuggingFaceTokenizer.from_path(saved, add_mask_token=True)
    assert added.vocabulary_size == plainly.vocabulary_size + 1
    assert added.mask_token_id == plainly.vocabulary_size
    assert added.token_bytes()[added.mask_token_id] is None
    named = HuggingFaceTokenizer.from_path(saved, mask_token="a", add_mask_token=True)
    assert named.mask_token_id == named.tokenizer.get_vocab()["a"]
    added.save(str(tmp_path / "again"))
    again = HuggingFaceTokenizer.from_path(str(tmp_path / "again"), add_mask_token=True)
    assert (again.mask_token_id, again.vocabulary_size) == (added.mask_token_id, added.vocabulary_size)
    assert again.tokenizer.mask_token == MASK_TOKEN
    with pytest.raises(DataError, match="mask token 'nowhere' is not in the vocabulary"):
        HuggingFaceTokenizer.from_path(saved, mask_token="nowhere")


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot load a tokenizer from '.*nothing'.*tokenizer.json"):
        HuggingFaceTokenizer.from_path(str(tmp_path / "nothing"))


def test_a_tokenizer_with_its_own_code_needs_consent(tmp_path: Path) -> None:
    small(None).save(str(tmp_path))
    settings_file = tmp_path / "tokenizer_config.json"
    facts = json.loads(settings_file.read_text())
    facts |= {"tokenizer_class": "Odd", "auto_map": {"AutoTokenizer": ["odd.Odd", "odd.Odd"]}}
    settings_file.write_text(json.dumps(facts))
    (tmp_path / "odd.py").write_text("raise SystemExit('ran')")
    with pytest.raises(DataError, match="set trust_remote_code if you trust that"):
        HuggingFaceTokenizer.from_path(str(tmp_path))


def test_fingerprints_tell_templates_and_masks_apart() -> None:
    prints = {small(SIMPLE).fingerprint(), small(None).fingerprint(), small(SIMPLE, mask_token="<m>").fingerprint()}
    assert len(prints) == 3
    assert small(SIMPLE).fingerprint() in prints


def test_a_pickled_tokenizer_encodes_alike() -> None:
    tokenizer, example = small(SIMPLE), conversation("a", "b")
    before = tokenizer.encode([example])[0]
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode([example])[0].ids.tolist() == before.ids.tolist()
    assert again.fingerprint() == tokenizer.fingerprint()


def test_facts_are_told() -> None:
    facts = real("qwen").describe()
    assert facts["algorithm"] == "BPE"
    assert facts["normaliser"] == "NFC"
    assert facts["end of turn"] == "<|im_end|>"
    assert real("minilm").describe()["end of turn"] == "[SEP]"


def test_tokenizers_without_a_fast_form_are_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(DataError, match="Slow has no fast"):
        HuggingFaceTokenizer(Slow(), mask_token_id=None)
