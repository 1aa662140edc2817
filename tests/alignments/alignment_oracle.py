"""Alignment the slow and obvious way, in sets and loops, sharing nothing with the implementation."""

from __future__ import annotations

import numpy as np

from tide_specs import EncodedExample, TokenKind

Chunk = tuple[tuple[int, ...], tuple[int, ...], int]
"""Student tokens, teacher tokens, bytes."""


def chunks_of(student: EncodedExample, teacher: EncodedExample) -> list[Chunk]:
    """Return every chunk: for each message its spans between common ends, then its pair of end-of-turn tokens."""
    found: list[Chunk] = []
    for message in range(1 + max([*student.message.tolist(), *teacher.message.tolist(), -1])):
        sides = [_tokens(student, message), _tokens(teacher, message)]
        common = {end for _, end in sides[0] if end >= 0} & {end for _, end in sides[1] if end >= 0}
        before = 0
        for cut in sorted(common):
            spans = [_between(tokens, before, cut) for tokens in sides]
            found.append((spans[0], spans[1], cut - before))
            before = cut
        ends = [_turn_end(side, message) for side in (student, teacher)]
        if ends[0] and ends[1]:
            found.append((ends[0], ends[1], 0))
    return found


def _tokens(side: EncodedExample, message: int) -> list[tuple[int, int]]:
    return [
        (place, int(side.end[place]))
        for place in range(len(side.ids))
        if side.message[place] == message and side.kind[place] == TokenKind.CONTENT
    ]


def _between(tokens: list[tuple[int, int]], before: int, cut: int) -> tuple[int, ...]:
    """The tokens after the one that ends at ``before``, up to the one that ends at ``cut``."""
    ends = [end for _, end in tokens]
    first = ends.index(before) + 1 if before else 0
    return tuple(place for place, _ in tokens[first : ends.index(cut) + 1])


def _turn_end(side: EncodedExample, message: int) -> tuple[int, ...]:
    here = (side.message == message) & (side.kind == TokenKind.END_OF_TURN)
    return tuple(np.flatnonzero(here).tolist())


def as_chunks(student: np.ndarray, teacher: np.ndarray, sizes: np.ndarray) -> list[Chunk]:
    """Spell an ``AlignedPair`` out in the oracle's terms."""
    return [
        (tuple(np.flatnonzero(student == c).tolist()), tuple(np.flatnonzero(teacher == c).tolist()), int(sizes[c]))
        for c in range(len(sizes))
    ]


def synthetic(ends: list[list[int]], *, closed: bool = True) -> EncodedExample:
    """An encoding whose message m has content tokens with the given ends, one markup token before each message."""
    rows: list[tuple[int, int, int]] = []
    for message, places in enumerate(ends):
        rows.append((TokenKind.MARKUP, -1, -1))
        rows += [(TokenKind.CONTENT, message, end) for end in places]
        if closed:
            rows.append((TokenKind.END_OF_TURN, message, -1))
    kind, number, end = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    return EncodedExample(
        ids=np.arange(len(rows), dtype=np.int32),
        kind=kind.astype(np.int8),
        message=number.astype(np.int32),
        end=end.astype(np.int32),
        trainable=np.ones(len(rows), dtype=np.bool_),
    )


def truncated(side: EncodedExample, length: int) -> EncodedExample:
    """The first tokens of an encoding, as a shorter window would hold them."""
    return EncodedExample(
        ids=side.ids[:length],
        kind=side.kind[:length],
        message=side.message[:length],
        end=side.end[:length],
        trainable=side.trainable[:length],
    )
