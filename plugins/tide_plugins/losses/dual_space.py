"""Dual-space distillation: attention between the models takes the place of aligned vocabularies.

Shapes: c chunks, H_S and H_T hidden sizes of student and teacher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from tide_specs import Direction, FeatureContext, FeatureLoss

if TYPE_CHECKING:
    from torch import Tensor, nn


class DualSpace(FeatureLoss):
    """Dual-space knowledge distillation with cross-model attention (DSKD, Zhang et al. 2024), for comparison.

    Within each sequence the student's chunks attend over the teacher's; what they find is projected into the student's space
    and read out by the student's head, which gives a teacher's distribution p over the student's vocabulary. Per chunk:

    loss = T^2 KL(p || q) - log p(first student token of the chunk)

    q is the student's own distribution. p is held constant in the KL; the second term teaches attention and projection to
    say what the text says, and reaches nothing of the student. ``spaces: both`` adds the mirror image: the teacher's chunks
    attend, by the same scores, over projected student states, the teacher's head reads, and the term is T^2 KL from the
    teacher's own distribution. Heads are never trained.

    Departures from DSKD. Queries and keys hold embeddings of the input and of the token to be predicted there; where the
    input is a mask, the (detached) hidden state takes its place, and rows of the heads serve as embeddings of the tokens.
    Normalisation is per state instead of over the batch, so that no sequence depends on another. States are means over the
    masked tokens of a chunk, which is what a head reads where the chunk is one token. Projections learn at the student's
    learning rate.

    Memory: logits of one slice at a time, about eight tensors of 2^23 float32 numbers (270 MB), computed again in the
    backward pass; and a few of c x c for the attention over all c chunks of a micro-batch. The projections hold 5 H_S H_T
    numbers, for both spaces 6 H_S H_T.
    """

    name: Literal["dual_space"] = "dual_space"
    direction: ClassVar[Direction | None] = "forward"
    spaces: Literal["student", "both"] = Field(
        default="both", description="compare over the student's vocabulary, or over the teacher's as well"
    )
    temperature: PositiveFloat = Field(
        default=2.0, description="divides all logits of the KL terms, which are multiplied by its square"
    )
    values: Literal["states_and_targets", "states"] = Field(
        default="states_and_targets",
        description="what attention finds: the teacher's state with its token's embedding, as published, from which the "
        "projection can read the answer; or the state alone",
    )
    correct_only: bool = Field(
        default=True,
        description="learn from p only where its first choice is the text's token, as the authors' code does: nowhere, until the "
        "projection has learned something",
    )

    def build(self, student_size: int, teacher_size: int) -> nn.Module:
        """The projections of queries, of teacher states and, for both spaces, of student states."""
        from .cross_model_attention import CrossModelAttention

        return CrossModelAttention(student_size, teacher_size, both=self.spaces == "both")

    def per_chunk(self, student: Tensor, teacher: Tensor, module: Any, at: FeatureContext) -> Tensor:
        """States [c, H_S] and [c, H_T] -> losses [c]."""
        from .cross_model_attention import in_student_space, in_teacher_space

        teacher = teacher.detach()
        found, returned = module(student, teacher, at, with_targets=self.values == "states_and_targets")
        losses = in_student_space(student, found, at, self.temperature, self.correct_only)
        return losses if returned is None else losses + in_teacher_space(returned, teacher, at, self.temperature)
