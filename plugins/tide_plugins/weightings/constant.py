"""A fixed weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat

from tide_specs import TeacherWeighting, WeightingContext

if TYPE_CHECKING:
    from torch import Tensor


class Constant(TeacherWeighting):
    """The same factor at every step and for every text; 1 leaves the losses' own weights as they are."""

    name: Literal["constant"] = "constant"
    value: NonNegativeFloat = Field(default=1.0, description="factor of every loss that compares with this teacher")

    def factor(self, at: WeightingContext) -> Tensor:
        """Chunks -> the factor of each [c]."""
        return at.t * 0 + self.value
