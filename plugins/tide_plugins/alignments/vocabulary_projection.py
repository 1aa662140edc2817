"""Alignment that projects the teacher's distribution into the student's vocabulary."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from tide_specs import Port, TextTokenizer, VocabularyBridge

from .byte_chunks import ByteAligned


class Projecting(ByteAligned):
    """Base of the alignments that give each teacher token a student column."""

    yields: ClassVar[frozenset[Port]] = frozenset({"chunks", "projected"})

    correct_undershoot: bool = Field(
        default=True,
        description="where one student token is several teacher tokens, move the chunk's likelihood to it from the column "
        "of the first one",
    )
    top_k: PositiveInt | None = Field(
        default=None, description="project the teacher's k most likely tokens alone, the rest as tail; null: all"
    )
    tail: Literal["compared", "left_out"] = Field(
        default="compared",
        description="what no token of the other side stands for is an outcome of its own, or the student is not asked about it",
    )

    @property
    def reads_top_k(self) -> int | None:
        """``top_k``."""
        return self.top_k


class VocabularyProjection(Projecting):
    """Where a chunk begins, the teacher's probabilities over the student's columns, matched by bytes.

    Chunks are those of ``byte_chunks``. A teacher token goes to the student token of equal bytes; with ``match:
    first_token`` one without such a token goes to the longest student token that it begins with, since writing that is how
    the student would begin to write it. Ends of turn are matched by role, other special tokens not at all. What has no image
    goes to a tail, and so do, on the student's side, the columns to which the teacher gives nothing: nothing is
    renormalised in silence, and both sides are distributions over one set of outcomes. Where every text token of the
    student's has an outcome, its tail holds only special tokens and padding; there, and with ``tail: left_out``
    everywhere, the student is compared given that it says something that has a name, by the share of the teacher's mass
    that has one.

    What is lost is less the tail than *undershoot*: where several teacher tokens make one student token, the teacher's mass
    lies on the first piece, and nothing on the token that the text has. ``correct_undershoot`` moves the likelihood of
    the chunk to it. Elsewhere a student token that is no teacher token counts in the tail: a teacher of a much smaller
    vocabulary then pulls the student towards shorter tokens, which ``tail: left_out`` does not do.

    A vocabulary that does not spell the spaces between its words (WordPiece) matches only what follows no space: prefer
    ``byte_chunks`` or ``ranked`` for it. With ``top_k`` a cache of so many tokens suffices. Equal vocabularies make it the
    identity.
    """

    name: Literal["vocabulary_projection"] = "vocabulary_projection"

    match: Literal["exact", "first_token"] = Field(
        default="first_token",
        description="match equal bytes alone, or the rest by the longest student token that a teacher token begins with",
    )

    def bridge(self, student: TextTokenizer, teacher: TextTokenizer) -> VocabularyBridge:
        """Match the vocabularies; raise ``AlignmentError`` when they have nothing in common."""
        from .projection import ProjectionBridge
        from .vocabulary_map import match_bytes

        return ProjectionBridge(
            match_bytes(student, teacher, self.match),
            correct_undershoot=self.correct_undershoot,
            top_k=self.top_k,
            tail=self.tail,
        )
