"""Byte alignment of many examples at once.

Shapes: E examples; S and T tokens of all students and all teachers, laid end to end; C chunks of all examples.

Every token that ends somewhere gets a key: its message (numbered through the whole batch) in the high 32 bits, the byte at
which it ends in the low 32. Keys rise along the text, so the common boundaries are an intersection of two sorted lists, and
the chunk of a token is the number of common boundaries before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tide_specs import AlignedPair, AlignmentError, ChunkRelation, EncodedExample, TokenKind

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_TURN_END = np.int64(0x7FFF_FFFF)
"""Low half of the key of an end-of-turn token: behind every byte of its message."""
_ENOUGH = 16
"""Boundaries that two tokenizations of one message may have without having any in common."""


@dataclass(frozen=True)
class FlatAlignment:
    """student [S] and teacher [T]: chunk of each token within the batch, -1 outside; bytes, relation [C].

    student_starts and teacher_starts [E + 1]: first token of each example; chunk_starts [E + 1]: its first chunk.
    """

    student: Ints
    teacher: Ints
    bytes: Ints
    relation: NDArray[np.int8]
    student_starts: Ints
    teacher_starts: Ints
    chunk_starts: Ints


@dataclass(frozen=True)
class _Tokens:
    """One side, laid end to end. starts [E + 1]; of n tokens: message [n], numbered through the batch, -1 for markup;
    at [m]: the tokens that bound something; keys [m]: where."""

    starts: Ints
    message: NDArray[np.int32]
    turn_end: Flags
    at: Ints
    keys: Ints


def align_examples(students: Sequence[EncodedExample], teachers: Sequence[EncodedExample]) -> FlatAlignment:
    """Align E pairs of encodings. Raises ``AlignmentError`` where a pair is not of the same text."""
    if len(students) != len(teachers):
        raise AlignmentError(
            f"{len(students)} student encodings cannot be aligned with {len(teachers)} teacher encodings"
        )
    starts = _starts(students), _starts(teachers)
    messages = _joined(students, "message"), _joined(teachers, "message")
    bases = _message_bases((starts[0], messages[0]), (starts[1], messages[1]))
    ours = _lay_out(students, starts[0], messages[0], bases)
    theirs = _lay_out(teachers, starts[1], messages[1], bases)
    _, own, other = _intersect(ours.keys, theirs.keys)
    _check_same_text(ours, theirs, own, bases)
    common = ours.keys[own]
    student = _number(ours, own)
    teacher = _number(theirs, other)
    return FlatAlignment(
        student=student,
        teacher=teacher,
        bytes=_chunk_bytes(common),
        relation=_relations(student, teacher, len(common)),
        student_starts=ours.starts,
        teacher_starts=theirs.starts,
        chunk_starts=np.searchsorted(common, bases << 32),
    )


def only_equal_tokens(
    flat: FlatAlignment, students: Sequence[EncodedExample], teachers: Sequence[EncodedExample]
) -> FlatAlignment:
    """Keep the chunks that are one token on each side, with the same id."""
    count = len(flat.bytes)
    own, other = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    own[flat.student[flat.student >= 0]] = _joined(students, "ids")[flat.student >= 0]
    other[flat.teacher[flat.teacher >= 0]] = _joined(teachers, "ids")[flat.teacher >= 0]
    kept = (flat.relation == ChunkRelation.ONE_TO_ONE) & (own == other)
    numbers = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)
    return replace(
        flat,
        student=numbers[flat.student],
        teacher=numbers[flat.teacher],
        bytes=flat.bytes[kept],
        relation=flat.relation[kept],
        chunk_starts=np.concatenate(([0], np.cumsum(kept)))[flat.chunk_starts],
    )


def split_examples(flat: FlatAlignment) -> list[AlignedPair]:
    """Cut a flat alignment into one ``AlignedPair`` for each example."""
    first = flat.chunk_starts[:-1]
    student = _relative(flat.student, first, flat.student_starts)
    teacher = _relative(flat.teacher, first, flat.teacher_starts)
    size, s, t, c = (
        flat.bytes.astype(np.int32),
        *(starts.tolist() for starts in (flat.student_starts, flat.teacher_starts, flat.chunk_starts)),
    )
    return [
        AlignedPair(
            student=student[s[e] : s[e + 1]],
            teacher=teacher[t[e] : t[e + 1]],
            bytes=size[c[e] : c[e + 1]],
            relation=flat.relation[c[e] : c[e + 1]],
        )
        for e in range(len(first))
    ]


def _joined(examples: Sequence[EncodedExample], field: str) -> NDArray[Any]:
    arrays = [getattr(example, field) for example in examples]
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int32)


def _starts(examples: Sequence[EncodedExample]) -> Ints:
    """First token of each example, and the number of all tokens [E + 1]."""
    lengths = np.fromiter((len(example.ids) for example in examples), dtype=np.int64, count=len(examples))
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))


def _message_bases(*sides: tuple[Ints, NDArray[np.int32]]) -> Ints:
    """Number of the first message of each example [E + 1], from starts and messages of each side.

    No key is shared across a border of examples.
    """
    counts = np.zeros(len(sides[0][0]) - 1, dtype=np.int64)
    for starts, message in sides:
        filled = np.flatnonzero(starts[1:] > starts[:-1])
        if len(filled):
            counts[filled] = np.maximum(counts[filled], 1 + np.maximum.reduceat(message, starts[filled]))
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts)))


def _lay_out(examples: Sequence[EncodedExample], starts: Ints, within: NDArray[np.int32], bases: Ints) -> _Tokens:
    kind, end = _joined(examples, "kind"), _joined(examples, "end")
    inside = within >= 0
    message = within + np.repeat(bases[:-1].astype(np.int32), np.diff(starts))
    message[~inside] = -1
    turn_end = kind == TokenKind.END_OF_TURN
    bounds = (kind == TokenKind.CONTENT) & (end >= 0)
    bounds |= turn_end
    bounds &= inside
    at = np.flatnonzero(bounds)
    keys = message[at].astype(np.int64) << 32
    keys |= end[at] & 0x7FFF_FFFF
    keys[turn_end[at]] |= _TURN_END
    if len(keys) > 1 and not bool((keys[1:] > keys[:-1]).all()):
        token = int(at[1:][keys[1:] <= keys[:-1]][0])
        example = int(np.searchsorted(starts, token, side="right")) - 1
        raise AlignmentError(
            f"token {token - int(starts[example])} of encoding {example} ends at or before the token in front of it: "
            "the tokenizer's offsets do not rise along the message, so it cannot be aligned"
        )
    return _Tokens(starts, message, turn_end, at, keys)


def _intersect(ours: Ints, theirs: Ints) -> tuple[Flags, Ints, Ints]:
    """Where two rising lists agree: a flag for each of ours, and the places of the common keys in both."""
    places = np.searchsorted(theirs, ours)
    hit = np.zeros(len(ours), dtype=np.bool_)
    within = places < len(theirs)
    hit[within] = theirs[places[within]] == ours[within]
    return hit, np.flatnonzero(hit), places[hit]


def _number(tokens: _Tokens, common: Ints) -> Ints:
    """Chunk of each token, from the places (among ``tokens.at``) of the common boundaries."""
    last = tokens.at[common]
    boundary = np.zeros(len(tokens.message), dtype=np.int64)
    boundary[last] = 1
    chunk = np.cumsum(boundary) - boundary
    closing = np.append(last, -1)[np.minimum(chunk, len(last))]
    # A token belongs to the chunk that closes next only when it is of the same message, and is not what was left over
    # between the last common boundary and the end of the turn.
    belongs = (closing >= 0) & (tokens.message >= 0) & (tokens.message[closing] == tokens.message)
    belongs &= tokens.turn_end[closing] == tokens.turn_end
    return np.where(belongs, chunk, -1)


def _chunk_bytes(common: Ints) -> Ints:
    end = common & 0x7FFF_FFFF
    before = np.zeros_like(end)
    if len(common) > 1:
        same = (common[1:] >> 32) == (common[:-1] >> 32)
        before[1:] = np.where(same, end[:-1], 0)
    return np.where(end == _TURN_END, 0, end - before)


def _relations(student: Ints, teacher: Ints, count: int) -> NDArray[np.int8]:
    ours = np.bincount(student[student >= 0], minlength=count) > 1
    theirs = np.bincount(teacher[teacher >= 0], minlength=count) > 1
    relations = np.full(count, ChunkRelation.ONE_TO_ONE, dtype=np.int8)
    relations[ours] = ChunkRelation.MANY_TO_ONE
    relations[theirs] = ChunkRelation.ONE_TO_MANY
    relations[ours & theirs] = ChunkRelation.MANY_TO_MANY
    return relations


def _relative(chunk: Ints, first: Ints, starts: Ints) -> NDArray[np.int32]:
    shift = np.repeat(first, np.diff(starts))
    return np.where(chunk >= 0, chunk - shift, -1).astype(np.int32)


def _check_same_text(ours: _Tokens, theirs: _Tokens, own: Ints, bases: Ints) -> None:
    """Refuse a message that is complete on both sides and has many boundaries, none of them common."""
    count = int(bases[-1])
    if not count:
        return
    complete, busy = np.ones(count, dtype=np.bool_), np.ones(count, dtype=np.bool_)
    for side in (ours, theirs):
        ended = np.zeros(count, dtype=np.bool_)
        ended[side.message[side.turn_end & (side.message >= 0)]] = True
        complete &= ended
        busy &= np.bincount(side.keys >> 32, minlength=count) > _ENOUGH
    common = ours.keys[own]
    met = np.bincount(common[(common & 0x7FFF_FFFF) != _TURN_END] >> 32, minlength=count) > 0
    wrong: list[int] = np.flatnonzero(complete & busy & ~met).tolist()
    if wrong:
        example = int(np.searchsorted(bases, wrong[0], side="right")) - 1
        raise AlignmentError(
            f"message {wrong[0] - int(bases[example])} of example {example} has no token boundary that both tokenizations "
            "share: the two encodings are not of the same text"
        )
