"""Chunks from common token boundaries, by plain loops: enough for an alignment of one's own that chooses where to cut.

The bundled alignments do the same for whole batches at once; write an alignment with these functions first, and make it fast
when a profile asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from .errors import AlignmentError
from .text import AlignedPair, ChunkRelation, EncodedExample, TokenKind

Boundary = tuple[int, float]
"""Message, and the byte of it at which a token ends; the end of a turn is at byte infinity, behind all content."""
END_OF_TURN = float("inf")


def boundaries(side: EncodedExample) -> dict[Boundary, int]:
    """Return where tokens end, in text order -> the token that ends there."""
    found: dict[Boundary, int] = {}
    for place, (kind, message, end) in enumerate(zip(side.kind, side.message, side.end, strict=True)):
        if kind == TokenKind.END_OF_TURN:
            found[int(message), END_OF_TURN] = place
        elif kind == TokenKind.CONTENT and end >= 0:
            found[int(message), float(end)] = place
    return found


def common_boundaries(student: EncodedExample, teacher: EncodedExample) -> list[Boundary]:
    """Return the boundaries that both sides have, in text order.

    Raises ``AlignmentError`` when a message that is complete on both sides is longer on one of them.
    """
    ours, theirs = boundaries(student), boundaries(teacher)
    common = sorted(ours.keys() & theirs.keys())
    for message in [message for message, end in common if end == END_OF_TURN]:
        last = [_last(side, message) for side in (ours, theirs)]
        if last[0] != last[1]:
            raise AlignmentError(
                f"message {message} ends at byte {last[0]:.0f} for the student and at {last[1]:.0f} for the teacher: the two "
                "encodings are not of the same text"
            )
    return common


def _last(side: dict[Boundary, int], message: int) -> float:
    return max((end for number, end in side if number == message and end < END_OF_TURN), default=0)


def cut_at(student: EncodedExample, teacher: EncodedExample, cuts: Sequence[Boundary]) -> AlignedPair:
    """Return the chunks that end at ``cuts``, common boundaries in text order; each starts where the one before it ends."""
    import numpy as np

    left, right = _number(student, cuts), _number(teacher, cuts)
    relation = [_relation(left.count(chunk), right.count(chunk)) for chunk in range(len(cuts))]
    return AlignedPair(
        student=np.array(left, dtype=np.int32),
        teacher=np.array(right, dtype=np.int32),
        bytes=np.array(_sizes(cuts), dtype=np.int32),
        relation=np.array(relation, dtype=np.int8),
    )


def _number(side: EncodedExample, cuts: Sequence[Boundary]) -> list[int]:
    """Chunk of each token."""
    known = boundaries(side)
    chunk = [-1] * len(side.ids)
    for index, (message, end) in enumerate(cuts):
        place = known[message, end]
        chunk[place] = index
        while end < END_OF_TURN and _is_content(side, place - 1, message) and chunk[place - 1] < 0:
            place -= 1
            chunk[place] = index
    return chunk


def _is_content(side: EncodedExample, place: int, message: int) -> bool:
    return place >= 0 and int(side.message[place]) == message and int(side.kind[place]) == TokenKind.CONTENT


def _sizes(cuts: Sequence[Boundary]) -> list[int]:
    """Bytes of each chunk."""
    sizes: list[int] = []
    message, start = -1, 0.0
    for number, end in cuts:
        start = start if number == message else 0.0
        sizes.append(int(end - start) if end < END_OF_TURN else 0)
        message, start = number, end if end < END_OF_TURN else start
    return sizes


def _relation(student: int, teacher: int) -> ChunkRelation:
    if student == 1:
        return ChunkRelation.ONE_TO_ONE if teacher == 1 else ChunkRelation.ONE_TO_MANY
    return ChunkRelation.MANY_TO_ONE if teacher == 1 else ChunkRelation.MANY_TO_MANY
