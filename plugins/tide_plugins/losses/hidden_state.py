"""A loss on hidden states, the simplest one: bring the student's, projected, to the teacher's.

Shapes: c chunks, H_S and H_T hidden sizes of student and teacher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tide_specs import FeatureContext, FeatureLoss

if TYPE_CHECKING:
    from torch import Tensor, nn

SMALLEST = 1e-8
"""Added to mean squares, so that a state of zeros has a finite gradient; states of that size count as zero."""


class HiddenState(FeatureLoss):
    """Distance between the student's hidden state of a chunk, projected to the teacher's size, and the teacher's.

    The states are those that the heads read, averaged over the masked tokens of the chunk on each side. Both are
    normalised first, so that neither the models' scales nor the hidden sizes enter:

    - ``cosine``: 1 - cos, between 0 and 2;
    - ``mse``: mean squared difference of states with mean 0 and variance 1 over their components, between 0 and 4. It is
      2 (1 - r) for Pearson's correlation r: the cosine's twice, once each state's mean is taken away.

    The projection is linear with a bias and learns with the student, at its learning rate.
    """

    name: Literal["hidden_state"] = "hidden_state"
    distance: Literal["cosine", "mse"] = Field(
        default="cosine", description="1 - cosine, or the mean squared difference of standardised states"
    )

    def build(self, student_size: int, teacher_size: int) -> nn.Module:
        """The projection, H_S -> H_T."""
        from torch import nn

        return nn.Linear(student_size, teacher_size)

    def per_chunk(self, student: Tensor, teacher: Tensor, module: Any, at: FeatureContext) -> Tensor:
        """States [c, H_S] and [c, H_T] -> distances [c]."""
        import torch

        projected = module(student)
        projected = projected.to(torch.promote_types(projected.dtype, torch.float32))
        ours, theirs = self._normalised(projected), self._normalised(teacher.detach())
        if self.distance == "cosine":
            return 1 - (ours * theirs).mean(1)
        return (ours - theirs).square().mean(1)

    def _normalised(self, states: Tensor) -> Tensor:
        """Scale states [c, H] to a mean square of one; for ``mse`` take their mean away before."""
        if self.distance == "mse":
            states = states - states.mean(1, keepdim=True)
        return states * (states.square().mean(1, keepdim=True) + SMALLEST).rsqrt()
