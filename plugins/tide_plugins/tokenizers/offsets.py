"""Where tokens end in the raw UTF-8 bytes of a text.

Shapes: n tokens, c characters of the text.

Ends are never computed from decoded pieces alone: normalisers, dummy spaces and dropped characters make those drift.
Either the pieces spell the raw bytes exactly (checked), or the tokenizer's own character spans decide, cleaned of every
end that bounds nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ends = NDArray[np.int32]


def spelled_ends(raw: bytes, pieces: Sequence[bytes | None]) -> Ends | None:
    """Return the ends [n] when the pieces, one after the other, spell ``raw``; otherwise ``None``.

    One leading space more than the text has (SentencePiece's dummy prefix) is allowed and taken off.
    """
    try:
        joined = b"".join(pieces)  # pyright: ignore[reportArgumentType]
    except TypeError:  # a special or unknown token
        return None
    extra = len(joined) - len(raw)
    if extra not in (0, 1) or joined[extra:] != raw or joined[:extra] not in (b"", b" "):
        return None
    lengths = np.fromiter(map(len, pieces), dtype=np.int32, count=len(pieces))  # pyright: ignore[reportArgumentType]
    return drop_empty(np.cumsum(lengths, dtype=np.int32) - np.int32(extra))


def drop_empty(ends: Ends) -> Ends:
    """Set to -1 every end that does not lie beyond all earlier ends: such a token has no width of its own."""
    before = np.concatenate(([0], np.maximum.accumulate(ends)[:-1])) if len(ends) else ends
    return np.where(ends > before, ends, -1).astype(np.int32)


def spanned_ends(text: str, spans: NDArray[np.int64], pieces: Sequence[bytes | None], *, composes: bool = True) -> Ends:
    """Return the ends [n] from character spans [n, 2], -1 where a token bounds nothing.

    Args:
        text: the text that was encoded.
        spans: first and past-the-last character of each token, as a fast tokenizer reports them.
        pieces: bytes of each token; ``None`` where unknown.
        composes: whether the tokenizer normalises, so that several characters may have become one.
    """
    if not len(spans):
        return np.zeros(0, dtype=np.int32)
    place = byte_places(text)
    start, end = place[spans[:, 0]], place[spans[:, 1]]
    end = np.where(spans[:, 1] > spans[:, 0], end, -1)
    following = np.append(np.minimum.accumulate(np.where(end >= 0, start, len_bytes(place))[::-1])[::-1][1:], place[-1])
    known = _split_repeats(start, end, text.encode(), pieces)
    if composes:
        _settle_compositions(text, place, end, following)
    end = np.where(end > following, -1, end)
    return drop_empty(np.where(known >= 0, known, end).astype(np.int32))


def len_bytes(place: NDArray[np.int64]) -> int:
    """Return the length in bytes of the text whose ``byte_places`` are given."""
    return int(place[-1])


def byte_places(text: str) -> NDArray[np.int64]:
    """Return the byte offset [c + 1] at which each character of ``text`` starts, and the length in bytes at the end."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    widths = 1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)
    return np.concatenate(([0], np.cumsum(widths)))


def _split_repeats(
    start: NDArray[np.int64], end: NDArray[np.int64], raw: bytes, pieces: Sequence[bytes | None]
) -> NDArray[np.int64]:
    """Split runs of overlapping spans (tokens inside one character) by piece bytes, where these spell the raw bytes."""
    known = np.full(len(start), -1, dtype=np.int64)
    overlaps = np.flatnonzero((start[1:] < end[:-1]) & (start[1:] >= start[:-1]))
    taken = -1
    for first in overlaps.tolist():
        if first <= taken:
            continue
        last, reach = first, int(end[first])
        while last + 1 < len(start) and start[last + 1] < reach:
            last += 1
            reach = max(reach, int(end[last]))
        taken = last
        run = pieces[first : last + 1]
        if None not in run and b"".join(run) == raw[int(start[first]) : reach]:  # pyright: ignore[reportArgumentType]
            known[first : last + 1] = start[first] + np.cumsum([len(piece) for piece in run if piece is not None])
    return known


def _settle_compositions(
    text: str, place: NDArray[np.int64], end: NDArray[np.int64], following: NDArray[np.int64]
) -> None:
    """Move ends that cut a composed character behind it when nothing else lies there, and reject them otherwise."""
    characters = np.searchsorted(place, end)
    for token in range(len(end)):
        at = int(characters[token])
        if end[token] < 0 or at >= len(text) or not cuts_composition(text, at):
            continue
        while at < len(text) and place[at] < following[token] and cuts_composition(text, at):
            at += 1
        whole = at == len(text) or not cuts_composition(text, at)
        end[token] = place[at] if whole else -1


def cuts_composition(text: str, at: int) -> bool:
    """Whether Unicode normalisation may join the characters before ``at`` to those from ``at`` on."""
    character = text[at]
    if character < "\u0300":
        return False
    if unicodedata.combining(character):
        return True
    first = at - 1
    while first > 0 and unicodedata.combining(text[first]):
        first -= 1
    left, right = text[max(0, first - 2) : at], character
    return any(
        unicodedata.normalize(form, left + right)
        != unicodedata.normalize(form, left) + unicodedata.normalize(form, right)
        for form in ("NFC", "NFKC")
    )
