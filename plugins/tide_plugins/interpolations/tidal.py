"""The interpolations of TIDAL: along training, along time, and both (TIDE eq. 1-2).

``1 - t`` is meant literally: t is the time, not the masking ratio 1 - alpha(t). They are equal under the linear schedule,
which the paper uses, and differ under every other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tide_specs import Interpolation

if TYPE_CHECKING:
    from torch import Tensor


class Ramp(Interpolation):
    """Base of the interpolations that rise from ``initial`` to ``maximum`` over training (TIDE eq. 1)."""

    initial: float = Field(default=0.1, ge=0, le=1, description="lambda at the first step")
    maximum: float = Field(default=0.9, ge=0, le=1, description="lambda at the last step")
    ramp: Literal["cosine", "linear"] = Field(default="cosine", description="how lambda rises between the two")

    def trained(self, progress: float) -> float:
        """lambda_train(p): with the cosine, initial + (maximum - initial) * (1 - cos(pi p)) / 2."""
        done = (1 - math.cos(math.pi * progress)) / 2 if self.ramp == "cosine" else progress
        return self.initial + (self.maximum - self.initial) * done


class DualAxis(Ramp):
    """Both axes: lambda = lambda_train(p) * (1 - t); the teacher is trusted later in training and under little noise (TIDE eq. 2)."""

    name: Literal["dual_axis"] = "dual_axis"

    def weight(self, progress: float, t: Tensor) -> Tensor:
        """Progress and times t [n] -> lambda [n]."""
        return (1 - t) * self.trained(progress)


class TrainingOnly(Ramp):
    """The training axis alone: lambda = lambda_train(p), whatever the noise (TIDE eq. 1; an ablation of the paper)."""

    name: Literal["training_only"] = "training_only"

    def weight(self, progress: float, t: Tensor) -> Tensor:
        """Progress and times t [n] -> lambda [n]."""
        return t * 0 + self.trained(progress)


class TimestepOnly(Interpolation):
    """The time axis alone: lambda = maximum * (1 - t), throughout training (an ablation of the paper)."""

    name: Literal["timestep_only"] = "timestep_only"
    maximum: float = Field(default=0.9, ge=0, le=1, description="lambda without noise")

    def weight(self, progress: float, t: Tensor) -> Tensor:
        """Times t [n] -> lambda [n]."""
        return (1 - t) * self.maximum
