"""Alignment by plain loops: what the kit's batches are made with, and what fast alignments can be compared with."""

from __future__ import annotations

from typing import Literal

from tide_specs.alignment import Alignment
from tide_specs.errors import AlignmentError
from tide_specs.text import AlignedPair, ChunkRelation, EncodedExample, TokenKind

Boundary = tuple[int, int]
"""Message, and the byte of it at which a token ends; the byte of an end-of-turn token is -1."""


class PlainAlignment(Alignment):
    """Cuts each message at every byte where both sides have a token boundary; pairs the ends of turns."""

    name: Literal["plain_chunks"] = "plain_chunks"

    def align(self, student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
        """Align two encodings; raise ``AlignmentError`` when a complete message is longer on one side."""
        import numpy as np

        ours, theirs = self.boundaries(student), self.boundaries(teacher)
        self.refuse_other_text(ours, theirs)
        common = sorted(ours.keys() & theirs.keys(), key=lambda boundary: (boundary[0], boundary[1] < 0, boundary[1]))
        left, right = self.number(student, ours, common), self.number(teacher, theirs, common)
        relation = [self.relation(left.count(chunk), right.count(chunk)) for chunk in range(len(common))]
        return AlignedPair(
            student=np.array(left, dtype=np.int32),
            teacher=np.array(right, dtype=np.int32),
            bytes=np.array(self.sizes(common), dtype=np.int32),
            relation=np.array(relation, dtype=np.int8),
        )

    def boundaries(self, side: EncodedExample) -> dict[Boundary, int]:
        """Return boundary -> token."""
        found: dict[Boundary, int] = {}
        for place, (kind, message, end) in enumerate(zip(side.kind, side.message, side.end, strict=True)):
            if kind == TokenKind.END_OF_TURN:
                found[int(message), -1] = place
            elif kind == TokenKind.CONTENT and end >= 0:
                found[int(message), int(end)] = place
        return found

    def refuse_other_text(self, ours: dict[Boundary, int], theirs: dict[Boundary, int]) -> None:
        """Raise ``AlignmentError`` for a message that is complete on both sides and of different length."""
        complete = {message for message, end in ours.keys() & theirs.keys() if end < 0}
        for message in complete:
            ends = [max((end for number, end in side if number == message), default=0) for side in (ours, theirs)]
            if ends[0] != ends[1]:
                raise AlignmentError(f"message {message} ends at byte {ends[0]} on one side and {ends[1]} on the other")

    def number(self, side: EncodedExample, boundaries: dict[Boundary, int], common: list[Boundary]) -> list[int]:
        """Return the chunk of each token."""
        chunk = [-1] * len(side.ids)
        for index, boundary in enumerate(common):
            place = boundaries[boundary]
            chunk[place] = index
            while boundary[1] >= 0 and self.continues(side, place - 1, boundary[0]) and chunk[place - 1] < 0:
                place -= 1
                chunk[place] = index
        return chunk

    def continues(self, side: EncodedExample, place: int, message: int) -> bool:
        """Whether a token is content of this message."""
        return place >= 0 and int(side.message[place]) == message and int(side.kind[place]) == TokenKind.CONTENT

    def sizes(self, common: list[Boundary]) -> list[int]:
        """Return the bytes of each chunk."""
        sizes: list[int] = []
        before = (-1, 0)
        for message, end in common:
            start = before[1] if before[0] == message else 0
            sizes.append(end - start if end >= 0 else 0)
            before = (message, end if end >= 0 else start)
        return sizes

    def relation(self, student: int, teacher: int) -> ChunkRelation:
        """Return the relation of a chunk of so many tokens."""
        if student == 1:
            return ChunkRelation.ONE_TO_ONE if teacher == 1 else ChunkRelation.ONE_TO_MANY
        return ChunkRelation.MANY_TO_ONE if teacher == 1 else ChunkRelation.MANY_TO_MANY
