"""Alignment of two tokenizations over one vocabulary, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from tide_specs import AlignedPair, Alignment, EncodedExample, Port, SharedColumns, TextTokenizer


class SharedVocabulary(Alignment):
    """Pair equal tokens at equal places of the same message (the shared-tokenizer pipeline of TIDE).

    Chat templates and padded sizes (151,936 against 152,064 columns) may differ, since places count within a message. A
    token counts when both sides have it, with one id, over the same bytes; others belong to no chunk. That the
    vocabularies are one is checked by the bytes of every id, not by their sizes; special tokens are not compared.
    """

    name: Literal["shared_vocabulary"] = "shared_vocabulary"
    yields: ClassVar[frozenset[Port]] = frozenset({"tokens", "chunks"})

    def align(self, student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
        """Align one example; see ``align_batch``."""
        return self.align_batch([student], [teacher])[0]

    def align_batch(
        self, students: Sequence[EncodedExample], teachers: Sequence[EncodedExample]
    ) -> Sequence[AlignedPair]:
        """Align many examples in one vectorised pass, O(tokens)."""
        from .chunks import align_examples, only_equal_tokens, split_examples

        return split_examples(only_equal_tokens(align_examples(students, teachers), students, teachers))

    def columns(self, student: TextTokenizer, teacher: TextTokenizer) -> SharedColumns:
        """Return the ids that mean the same bytes on both sides; raise ``AlignmentError`` where two differ.

        The last column is that of the last common token, or of the end-of-turn token where both sides have the same one.
        Ids that are special or unused on one side only are left out.
        """
        from .vocabulary import shared_columns

        return shared_columns(student, teacher)
