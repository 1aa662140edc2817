"""A noise schedule with an exact weight."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from tide_specs import NoiseSchedule, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class SquaredCosine(NoiseSchedule):
    """alpha = cos(pi t / 2)^2, w = pi / tan(pi t / 2): gentle at both ends (image diffusion's cosine)."""

    name: Literal["squared_cosine"] = "squared_cosine"

    def alpha(self, t: Tensor) -> Tensor:
        """cos^2, through the double angle."""
        return (1 + (math.pi * t).cos()) / 2

    def alpha_prime(self, t: Tensor) -> Tensor:
        """-pi sin(pi t) / 2; the sine of a float32 pi is a little below zero."""
        return -math.pi / 2 * (math.pi * t).sin().clamp(min=0)

    def weight(self, t: Tensor) -> Tensor:
        """The closed form; -alpha' / (1 - alpha) would be 0 / 0 near t = 0."""
        return (math.pi / (math.pi / 2 * t).tan()).clamp(min=0)


@hookimpl
def tide_noise_schedules() -> list[type[SquaredCosine]]:
    """Contribute the schedule."""
    return [SquaredCosine]
