"""An alignment: one chunk per message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tide_specs import AlignedPair, Alignment, AlignmentError, ChunkRelation, EncodedExample, TokenKind, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Span = tuple["NDArray[np.int64]", "NDArray[np.int64]", int]
"""The student's tokens, the teacher's tokens, and the bytes of one chunk."""


class WholeMessages(Alignment):
    """A chunk is a whole message, as far as both sides hold it; its end of turn is a chunk of its own."""

    name: Literal["whole_messages"] = "whole_messages"

    def align(self, student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
        """Chunk numbers [Ls] and [Lt] in text order."""
        import numpy as np

        spans: list[Span] = []
        for message in sorted(set(student.message.tolist()) & set(teacher.message.tolist()) - {-1}):
            spans += [*_content(student, teacher, message), *_end_of_turn(student, teacher, message)]
        mine = np.full(len(student.ids), -1, np.int32)
        theirs = np.full(len(teacher.ids), -1, np.int32)
        for number, (left, right, _) in enumerate(spans):
            mine[left], theirs[right] = number, number
        return AlignedPair(
            student=mine,
            teacher=theirs,
            bytes=np.array([size for *_, size in spans], np.int32),
            relation=np.array([_relation(len(left), len(right)) for left, right, _ in spans], np.int8),
        )


def _content(student: EncodedExample, teacher: EncodedExample, message: int) -> list[Span]:
    """The tokens of both sides up to the last byte at which both have a boundary; none when there is no such byte."""
    import numpy as np

    left, right = (_tokens(side, message, TokenKind.CONTENT) for side in (student, teacher))
    left_end, right_end = student.end[left], teacher.end[right]
    common = np.intersect1d(left_end[left_end > 0], right_end[right_end > 0])
    last = int(common[-1]) if len(common) else 0
    uncut = all(len(_tokens(side, message, TokenKind.END_OF_TURN)) for side in (student, teacher))
    if uncut and last != max([0, *left_end.tolist(), *right_end.tolist()]):
        raise AlignmentError(f"message {message} ends elsewhere on the other side: these are two texts")
    if not last:
        return []
    return [(left[: np.flatnonzero(left_end == last)[0] + 1], right[: np.flatnonzero(right_end == last)[0] + 1], last)]


def _end_of_turn(student: EncodedExample, teacher: EncodedExample, message: int) -> list[Span]:
    left, right = (_tokens(side, message, TokenKind.END_OF_TURN) for side in (student, teacher))
    return [(left, right, 0)] if len(left) and len(right) else []


def _tokens(side: EncodedExample, message: int, kind: TokenKind) -> NDArray[np.int64]:
    import numpy as np

    return np.flatnonzero((side.message == message) & (side.kind == kind))


def _relation(left: int, right: int) -> ChunkRelation:
    if left == 1:
        return ChunkRelation.ONE_TO_ONE if right == 1 else ChunkRelation.ONE_TO_MANY
    return ChunkRelation.MANY_TO_ONE if right == 1 else ChunkRelation.MANY_TO_MANY


@hookimpl
def tide_alignments() -> list[type[WholeMessages]]:
    """Contribute the alignment."""
    return [WholeMessages]
