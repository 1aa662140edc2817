"""A weight that moves along training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat

from tide_specs import TeacherWeighting, WeightingContext

if TYPE_CHECKING:
    from torch import Tensor


class ByProgress(TeacherWeighting):
    """From ``initial`` to ``final`` along training: one teacher fades in while another fades out.

    linear: initial + (final - initial) p with p = step / steps; cosine: p is replaced by (1 - cos(pi p)) / 2.
    """

    name: Literal["by_progress"] = "by_progress"
    initial: NonNegativeFloat = Field(default=0.0, description="factor at the first step")
    final: NonNegativeFloat = Field(default=1.0, description="factor at the end of training")
    shape: Literal["linear", "cosine"] = Field(default="linear", description="how the factor moves in between")

    def factor(self, at: WeightingContext) -> Tensor:
        """Chunks -> the factor of each [c]."""
        p = at.progress if self.shape == "linear" else (1 - math.cos(math.pi * at.progress)) / 2
        return at.t * 0 + self.initial + (self.final - self.initial) * p
