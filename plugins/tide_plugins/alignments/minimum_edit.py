"""Alignment that gives each teacher token the student token that is spelt most like it."""

from __future__ import annotations

from typing import Literal

from tide_specs import TextTokenizer, VocabularyBridge

from .vocabulary_projection import Projecting


class MinimumEdit(Projecting):
    """Where a chunk begins, the teacher's probabilities over the student's columns, matched by spelling.

    A baseline for comparisons (minimum edit distance, as FuseLLM has it; Wan et al. 2024): a teacher token without a student
    token of equal bytes goes to the one at the least Levenshtein distance in bytes; the lowest id wins a tie. It maps meaning
    by spelling: " cat" goes to " car" when there is no " cat", and the student is taught to say so. Prefer
    ``vocabulary_projection``, whose images begin the same text.

    Distances are taken to the student tokens that stand nearest in two dictionaries, one in the order of the bytes and one in
    the order of the bytes read backwards (12 on each side, in each). So tokens that share a beginning or an end are found,
    and a nearer one that differs at both ends may be missed. Everything else is as in ``vocabulary_projection``.
    """

    name: Literal["minimum_edit"] = "minimum_edit"

    def bridge(self, student: TextTokenizer, teacher: TextTokenizer) -> VocabularyBridge:
        """Match the vocabularies; raise ``AlignmentError`` when one of them spells nothing."""
        from .projection import ProjectionBridge
        from .spelling import match_spelling

        return ProjectionBridge(
            match_spelling(student, teacher),
            correct_undershoot=self.correct_undershoot,
            top_k=self.top_k,
            tail=self.tail,
        )
