"""Train the demo's two tokenizers on the standard library's function sources.

Run ``python examples/demo/make_tokenizers.py``. The results ship with the project; this is how they were made. The
teacher reads byte-level BPE; the student a Unigram model with byte fallback: another algorithm, another way to treat
white space, other boundaries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tide_plugins.datasets.python_stdlib import PythonStandardLibrary

HERE = Path(__file__).parent
SPECIAL = ["<|endoftext|>", "<|mask|>"]
VOCABULARY = 2048


def texts() -> Iterator[str]:
    """Yield the training split's functions, whole."""
    for example in PythonStandardLibrary().examples("train"):
        yield "".join(message.content for message in example.messages)


def byte_level_bpe() -> Tokenizer:
    """Train the teacher's tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def unigram_with_byte_fallback() -> Tokenizer:
    """Pieces after SentencePiece's manner: spaces become ▁, unknown characters become bytes."""
    space = normalizers.Replace(" ", "▁")
    words = pre_tokenizers.Split(Regex(r"▁?\w+|▁?[^\w▁\n]+|▁+|\n+"), "isolated")
    trained = Tokenizer(models.Unigram())
    trained.normalizer, trained.pre_tokenizer = space, words
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY - 256, special_tokens=[*SPECIAL, "<unk>"], unk_token="<unk>", seed_size=20_000
    )
    trained.train_from_iterator(islice(texts(), 0, None, 4), trainer)  # a quarter is plenty for 2,048 pieces
    vocabulary = [(piece, score) for piece, score in json.loads(trained.to_str())["model"]["vocab"]]
    unknown = [piece for piece, _ in vocabulary].index("<unk>")
    vocabulary += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=unknown, byte_fallback=True))
    tokenizer.normalizer, tokenizer.pre_tokenizer = space, words
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer


def main() -> None:
    """Train and save both."""
    for folder, train in (("teacher-tokenizer", byte_level_bpe), ("student-tokenizer", unigram_with_byte_fallback)):
        tokenizer = train()
        fast = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, eos_token=SPECIAL[0], pad_token=SPECIAL[0], mask_token=SPECIAL[1]
        )
        fast.save_pretrained(HERE / folder)
        print(folder, len(fast), fast.tokenize("    return self._value + [1, 'é🙂']\n"))


if __name__ == "__main__":
    main()
