"""Masked consistency: the teacher sees the same text with less of it hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tide_specs import Draws, Side, TeacherPass, TeacherView

if TYPE_CHECKING:
    from torch import Tensor


class Nested(TeacherView):
    """Two passes: the teacher answers what is hidden at time s < t from x_s, and the rest from x_t, as the student must.

    x_s and x_t come from the same draws: what is hidden at s is hidden at t, too. Each chunk that is hidden at t is hidden at s
    with probability ``keep`` = (1 - alpha(s)) / (1 - alpha(t)), s / t for the linear schedule. Consistency distillation of
    masked models compares where both hide, and takes cross-entropy with the data where s reveals: there a teacher that sees the
    token has nothing to say, and here it answers from x_t, which costs the second pass. Name ``cross_entropy`` as a loss beside.
    """

    name: Literal["nested"] = "nested"
    keep: float = Field(
        default=0.5, gt=0, lt=1, description="share of the hidden chunks that stay hidden for the teacher"
    )

    def passes(self, side: Side, masked: Tensor, draws: Draws) -> Sequence[TeacherPass]:
        """Masked positions [B, L] -> the pass over x_s, and the pass over x_t for what s reveals."""
        from ..corruptions.units import leaders

        drawn = draws.uniform("nested view", masked.shape[1]).to(masked.device)
        still = masked & (drawn.gather(1, leaders(side.chunk)) < self.keep)
        return [TeacherPass(masked=still, counts=still), TeacherPass(masked=masked, counts=masked & ~still)]
