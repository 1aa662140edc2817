"""Alignment by plain loops: what the kit's batches are made with, and what fast alignments can be compared with."""

from __future__ import annotations

from typing import Literal

from tide_specs.alignment import Alignment
from tide_specs.chunking import common_boundaries, cut_at
from tide_specs.text import AlignedPair, EncodedExample


class PlainAlignment(Alignment):
    """Cuts each message at every byte where both sides have a token boundary; pairs the ends of turns."""

    name: Literal["plain_chunks"] = "plain_chunks"

    def align(self, student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
        """Align two encodings; raise ``AlignmentError`` when a complete message is longer on one side."""
        return cut_at(student, teacher, common_boundaries(student, teacher))
