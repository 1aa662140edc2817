"""Alignment of two tokenizations by the bytes of the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from tide_specs import AlignedPair, Alignment, EncodedExample, Port


class ByteAligned(Alignment):
    """Base of the alignments whose chunks are the shortest spans of whole tokens on both sides."""

    def align(self, student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
        """Align one example; see ``align_batch``."""
        return self.align_batch([student], [teacher])[0]

    def align_batch(
        self, students: Sequence[EncodedExample], teachers: Sequence[EncodedExample]
    ) -> Sequence[AlignedPair]:
        """Align many examples in one vectorised pass, O(tokens)."""
        from .chunks import align_examples, split_examples

        return split_examples(align_examples(students, teachers))


class ByteChunks(ByteAligned):
    """Cut the text wherever both tokenizations have a token boundary (CALM; TIDE section 3.4).

    A chunk is the shortest span of one message that holds whole tokens on both sides. Boundaries are compared as offsets
    in the raw UTF-8 bytes of a message, so the two vocabularies, normalisers and chat templates may differ. The tokens
    that end the same message on both sides form a chunk of their own. What follows the last common boundary of a message
    (for instance because one side was truncated) belongs to no chunk. Takes any two tokenizers.
    """

    name: Literal["byte_chunks"] = "byte_chunks"
    yields: ClassVar[frozenset[Port]] = frozenset({"chunks"})
