"""CompDemo: the teacher answers each half of the masked text while it sees the other half (TIDE eq. 5-6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tide_specs import Draws, Side, TeacherPass, TeacherView

if TYPE_CHECKING:
    from torch import Tensor


class Complementary(TeacherView):
    """Two passes: M is split into M_A and M_B; the first reveals M_A and answers M_B, the second is its mirror image.

    The split is by whole chunks, each in M_A with probability ``rho``. Under heavy masking even a large teacher guesses; here
    it sees half of what the student must predict, at the price of a second forward pass.
    """

    name: Literal["complementary"] = "complementary"
    rho: float = Field(default=0.5, gt=0, lt=1, description="probability that a chunk is in M_A, revealed first")

    def passes(self, side: Side, masked: Tensor, draws: Draws) -> Sequence[TeacherPass]:
        """Masked positions [B, L] -> two passes whose masks are complements within ``masked``."""
        from ..corruptions.units import leaders

        drawn = draws.uniform("complementary view", masked.shape[1]).to(masked.device)
        first = drawn.gather(1, leaders(side.chunk)) < self.rho
        return [TeacherPass(masked=part, counts=part) for part in (masked & ~first, masked & first)]
