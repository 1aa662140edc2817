"""Real tokenizers for tests, loaded once, and hostile text for them."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import strategies as st

from tide_plugins.tokenizers.huggingface import HuggingFaceTokenizer
from tide_plugins.tokenizers.packaged import load_packaged
from tide_specs import EncodedExample, Example, Message, UnavailableError

NAMES = ("qwen", "deepseek", "smollm2", "tekken", "mistral-sp", "minilm")
LOSSLESS = ("deepseek", "smollm2", "tekken", "mistral-sp")

_FRAGMENTS = [
    "e\u0301",
    "a\u0327\u0301",
    "\u1e9b\u0323",
    "\u1100\u1161\u11a8",
    "\uac00\u11a8",
    "\uff76\uff9e",
    "\ufb01",
    "\u00bd",
    "\u2460",
    "\u0130",
    "\u1e9e",
    "\u2126",
    "\u0958",
    "\u09c7\u09be",
    "👨\u200d👩\u200d👧",
    "🇫🇷",
    "👍🏽",
    "😀",
    "你好世界",
    "이것은",
    "にほん",
    "日本語",
    "ไทย",
    "नमस्ते",
    "العربية",
    "naïve",
    " the",
    "The",
    " internationalisation",
    "don't",
    "def f(x):\n    return x\n",
    "   ",
    "\t\t",
    "\n\n\n",
    "\r\n",
    "\u00a0",
    "\u3000",
    "\u200b",
    "\ufeff",
    "\x00",
    "\x07",
    "\x7f",
    "▁",
    "<0x41>",
    "##ing",
    "[UNK]",
    "[MASK]",
    "<|im_end|>",
    "</s>",
    "[/INST]",
    "<｜User｜>",
    "1234567",
    "3.14",
    "!!!",
    "x" * 120,
]

TEXTS = st.lists(
    st.one_of(st.sampled_from(_FRAGMENTS), st.text(st.characters(codec="utf-8"), max_size=6)), max_size=12
).map("".join)


@cache
def _load(name: str) -> HuggingFaceTokenizer | str:
    try:
        return load_packaged(name)  # type: ignore[arg-type]
    except UnavailableError as error:
        return str(error)


def real(name: str) -> HuggingFaceTokenizer:
    """Return a real tokenizer; skip the test, with the reason, when its package is missing."""
    found = _load(name)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@cache
def _single_bytes(name: str) -> frozenset[bytes]:
    return frozenset(piece for piece in real(name).token_bytes() if piece is not None and len(piece) == 1)


def spells(name: str, text: str) -> bool:
    """Whether a tokenizer's pieces spell this text byte for byte."""
    if name == "mistral-sp":
        return "▁" not in text  # SentencePiece cannot tell it from a space
    if name == "qwen":
        return text.isascii()  # it composes characters
    # SmolLM2 lacks some bytes and drops them.
    return name != "minilm" and {bytes([byte]) for byte in text.encode()} <= _single_bytes(name)


def conversation(*contents: str) -> Example:
    """Alternate user and trainable assistant messages."""
    roles = ("user", "assistant")
    return Example(
        key="c",
        source="data.jsonl:1",
        messages=[Message(role=roles[n % 2], content=text, trainable=n % 2 == 1) for n, text in enumerate(contents)],
    )


def plain(*contents: str) -> Example:
    """Texts of which only the last is trainable."""
    last = len(contents) - 1
    return Example(
        key="t",
        source="data.jsonl:2",
        messages=[Message(role="text", content=text, trainable=n == last) for n, text in enumerate(contents)],
    )


def encode(name: str, example: Example) -> EncodedExample:
    """Encode one example."""
    return real(name).encode([example])[0]
