"""Alignments: which tokens of two tokenizations speak of the same text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from .bridge import VocabularyBridge
from .component import Component
from .text import AlignedPair, EncodedExample, SharedColumns, TextTokenizer

Port = Literal["tokens", "chunks", "projected", "ranked"]
"""``chunks``: spans of equal bytes. ``tokens``: spans of one token each side, with shared vocabulary columns.
``projected``: distributions where chunks begin, over outcomes that mean the same text; ``ranked``: over outcomes sorted by
their probability, which mean nothing."""


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

    def bridge(self, student: TextTokenizer, teacher: TextTokenizer) -> VocabularyBridge | None:
        """Return what makes the two vocabularies comparable; needed of an alignment that yields ``projected`` or ``ranked``.

        Raises ``AlignmentError`` when nothing in one vocabulary can be said in the other.
        """
        return None

    @property
    def reads_top_k(self) -> int | None:
        """How many of the teacher's most likely tokens the bridge looks at; ``None``: all. See ``Loss.reads_top_k``."""
        return None
