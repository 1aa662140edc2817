"""Alignments: which tokens of two tokenizations speak of the same text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from .component import Component
from .text import AlignedPair, EncodedExample, SharedColumns, TextTokenizer

Port = Literal["tokens", "chunks"]
"""``chunks``: spans of equal bytes. ``tokens``: spans of one token each side, with shared vocabulary columns."""


class Alignment(Component):
    """Kind ``alignment``. Everything O(length); never a matrix of tokens by chunks."""

    kind: ClassVar[str] = "alignment"
    yields: ClassVar[frozenset[Port]] = frozenset({"chunks"})

    @abstractmethod
    def align(self, student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
        """Align the two encodings of one example; raise ``AlignmentError`` when they are not of the same text."""
        raise NotImplementedError

    def align_batch(
        self, students: Sequence[EncodedExample], teachers: Sequence[EncodedExample]
    ) -> Sequence[AlignedPair]:
        """Align many examples; what the data pipeline calls. Override it where one vectorised pass serves them all."""
        return [self.align(student, teacher) for student, teacher in zip(students, teachers, strict=True)]

    def columns(self, student: TextTokenizer, teacher: TextTokenizer) -> SharedColumns | None:
        """Return the vocabulary columns that both heads share; needed of an alignment that yields ``tokens``.

        Raises ``AlignmentError`` when the vocabularies differ, naming the first difference.
        """
        return None
