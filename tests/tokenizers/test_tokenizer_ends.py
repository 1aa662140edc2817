"""Ends are offsets in the raw bytes: checked against what the pieces say, by oracles that share no code with them."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from tokenizer_kit import LOSSLESS, NAMES, TEXTS, encode, plain, real, spells

from tide_specs import TokenKind


def content(name: str, text: str) -> tuple[list[int], list[int]]:
    encoded = encode(name, plain(text))
    inside = encoded.kind == TokenKind.CONTENT
    return encoded.ids[inside].tolist(), encoded.end[inside].tolist()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_ends_rise_within_the_text(name: str, text: str) -> None:
    _, ends = content(name, text)
    kept = [end for end in ends if end >= 0]
    assert kept == sorted(set(kept))
    assert all(0 < end <= len(text.encode()) for end in kept)


@pytest.mark.parametrize("name", LOSSLESS)
@settings(max_examples=80, deadline=None)
@given(text=TEXTS)
def test_lossless_tokens_spell_the_bytes_between_their_ends(name: str, text: str) -> None:
    ids, ends = content(name, text)
    raw, table = text.encode(), real(name).token_bytes()
    if not spells(name, text):
        return
    start = 0
    for index, end in zip(ids, ends, strict=True):
        piece = table[index]
        assert piece is not None
        if end < 0:
            assert piece == b" "  # the dummy prefix
            continue
        assert raw[start:end] == (piece if start or len(piece) == end else piece[1:])
        start = end
    assert start == len(raw)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_ends_of_a_composing_tokenizer_split_the_normalised_text(text: str) -> None:
    ids, ends = content("qwen", text)
    raw, table = text.encode(), real("qwen").token_bytes()
    pieces = [table[index] or b"" for index in ids]
    assert b"".join(pieces) == unicodedata.normalize("NFC", text).encode()
    for place, end in enumerate(ends):
        if end < 0:
            continue
        before, after = b"".join(pieces[: place + 1]), b"".join(pieces[place + 1 :])
        cut = end
        while cut < len(raw) and raw[cut] & 0xC0 == 0x80:
            cut -= 1  # inside a character: its first bytes must be the last bytes of the pieces
        inner = raw[cut:end]
        assert before.endswith(inner)
        head = before[: len(before) - len(inner)]
        assert head == unicodedata.normalize("NFC", raw[:cut].decode()).encode()
        assert inner + after == unicodedata.normalize("NFC", raw[cut:].decode()).encode()


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_ends_of_wordpiece_split_the_normalised_text(text: str) -> None:
    tokenizer = real("minilm")
    ids, ends = content("minilm", text)
    normalise = tokenizer.tokenizer.backend_tokenizer.normalizer.normalize_str
    pieces = tokenizer.tokenizer.convert_ids_to_tokens(ids)
    if "[UNK]" in pieces:
        return
    for place, end in enumerate(ends):
        if end >= 0:
            before = "".join(piece.removeprefix("##") for piece in pieces[: place + 1])
            assert "".join(normalise(text.encode()[:end].decode()).split()) == before


@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_words_of_wordpiece_keep_their_ends(text: str) -> None:
    """Rejection must be rare: ASCII words always bound something."""
    words = "alpha beta " + text.replace("\u200d", "") + " gamma delta"
    raw = words.encode()
    _, ends = content("minilm", words)
    assert {len(b"alpha"), len(b"alpha beta"), len(raw)} <= set(ends)


@pytest.mark.parametrize(
    ("name", "text", "ends"),
    [
        ("qwen", "e\u0301x", [3, 4]),
        ("minilm", "e\u0301 x", [3, 5]),
        ("minilm", "Na\u00efve", [6]),
        ("minilm", "a  b", [1, 4]),
        ("mistral-sp", "\n", [-1, 1]),
        ("mistral-sp", "hi  there", [2, 3, 9]),
        ("smollm2", "\U0001f9ff", [2, 3, 4]),
        ("smollm2", "a\x16b", [1, 3]),
    ],
)
def test_known_ends(name: str, text: str, ends: list[int]) -> None:
    assert content(name, text)[1][-len(ends) :] == ends


@pytest.mark.parametrize("name", NAMES)
def test_empty_content_has_no_tokens(name: str) -> None:
    encoded = encode(name, plain(""))
    assert not (encoded.kind == TokenKind.CONTENT).any()
    assert encoded.kind[-1] == TokenKind.END_OF_TURN


def test_arrays_have_the_promised_types() -> None:
    encoded = encode("deepseek", plain("some text", "more"))
    kinds = (encoded.ids, encoded.kind, encoded.message, encoded.end, encoded.trainable)
    assert [array.dtype for array in kinds] == [np.int32, np.int8, np.int32, np.int32, np.bool_]
    assert len({len(array) for array in kinds}) == 1
