"""Alignment that compares probabilities by their rank alone."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from tide_specs import Port, TextTokenizer, VocabularyBridge

from .byte_chunks import ByteAligned


class Ranked(ByteAligned):
    """Where a chunk begins, both sides' probabilities from the largest down (ULD, Boizard et al. 2024).

    Chunks are those of ``byte_chunks``. Each side is sorted by itself, and the r-th largest probabilities are compared: what
    the tokens mean plays no part, so it takes any two vocabularies and says how sure the teacher is, not of what. ULD as
    published compares all ranks (``top_k: null``), the shorter vocabulary filled up with zeros; by default everything below
    rank 64 is one outcome, which spares sorting two whole vocabularies and lets a cache of 64 tokens suffice.
    """

    name: Literal["ranked"] = "ranked"
    yields: ClassVar[frozenset[Port]] = frozenset({"chunks", "ranked"})

    top_k: PositiveInt | None = Field(
        default=64, description="ranks that are compared one by one, the rest as one outcome; null: all"
    )

    @property
    def reads_top_k(self) -> int | None:
        """``top_k``."""
        return self.top_k

    def bridge(self, student: TextTokenizer, teacher: TextTokenizer) -> VocabularyBridge:
        """Serves any two vocabularies."""
        from .ranks import RankBridge

        return RankBridge(self.top_k)
