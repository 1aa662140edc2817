"""What the pieces of a vocabulary mean in bytes.

Three spellings cover the fast tokenizers of transformers: byte-level BPE writes every byte as a printable character,
SentencePiece writes a space as ``▁`` and unknown bytes as ``<0xE4>``, WordPiece marks continuations with ``##``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

Spelling = Literal["byte_level", "sentencepiece", "wordpiece", "plain"]

_BYTE_PIECE = re.compile(r"^<0x([0-9A-Fa-f]{2})>$")


def byte_alphabet() -> dict[str, int]:
    """Return the character with which byte-level BPE writes each byte, as character -> byte.

    Printable Latin-1 characters stand for themselves; the other bytes take the characters from U+0100 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(0x100 + rank): byte for rank, byte in enumerate(others)})
    return alphabet


def component_types(section: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the parts of a normaliser, pre-tokenizer or decoder of ``tokenizer.json``, sequences flattened."""
    if section is None:
        return []
    for key in ("normalizers", "pretokenizers", "decoders"):
        if key in section:
            inner: list[Any] = section[key]
            return [part for one in inner for part in component_types(one)]
    return [section]


def spelling_of(state: Mapping[str, Any]) -> Spelling:
    """Return how the vocabulary of a parsed ``tokenizer.json`` spells bytes."""
    parts = component_types(state.get("decoder")) + component_types(state.get("pre_tokenizer"))
    types = {part["type"] for part in parts}
    if "ByteLevel" in types:
        return "byte_level"
    if state["model"].get("type") == "WordPiece" or "WordPiece" in types:
        return "wordpiece"
    if types & {"Metaspace", "ByteFallback"} or state["model"].get("byte_fallback"):
        return "sentencepiece"
    return "plain"


def piece_bytes(piece: str, spelling: Spelling, alphabet: Mapping[str, int]) -> bytes | None:
    """Return the bytes of one piece; ``None`` when the piece is not text (a special token inside the vocabulary)."""
    if spelling == "byte_level":
        codes = [alphabet.get(character, -1) for character in piece]
        return None if min(codes, default=-1) < 0 else bytes(codes)
    if spelling == "wordpiece":
        return piece.removeprefix("##").encode()
    if spelling == "sentencepiece":
        byte = _BYTE_PIECE.match(piece)
        return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()
    return piece.encode()


def vocabulary_bytes(state: Mapping[str, Any], vocabulary: Mapping[str, int], size: int) -> list[bytes | None]:
    """Return the bytes of ids 0..size-1; ``None`` for special, unknown and unused ids.

    Args:
        state: the parsed ``tokenizer.json``.
        vocabulary: piece -> id, added tokens included.
        size: number of ids.
    """
    spelling, alphabet = spelling_of(state), byte_alphabet()
    table: list[bytes | None] = [None] * size
    for piece, index in vocabulary.items():
        table[index] = piece_bytes(piece, spelling, alphabet)
    for token in state.get("added_tokens", []):
        table[token["id"]] = None if token["special"] else token["content"].encode()
    unknown = state["model"].get("unk_token")
    if unknown in vocabulary:
        table[vocabulary[unknown]] = None
    unknown_id = state["model"].get("unk_id")
    if unknown_id is not None:
        table[unknown_id] = None
    return table
