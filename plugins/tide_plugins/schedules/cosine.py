"""Two unlike schedules that are both called cosine. All tensors elementwise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tide_specs import NoiseSchedule

if TYPE_CHECKING:
    from torch import Tensor

QUARTER = math.pi / 2


class Cosine(NoiseSchedule):
    """alpha = 1 - cos(pi (1 - t) / 2), w = (pi / 2) tan(pi (1 - t) / 2): the masking probability is sin(pi t / 2).

    Masks more than ``linear`` at every t (.71 at t = .5). ``masked_cosine`` is the other schedule of this name.
    """

    name: Literal["cosine"] = "cosine"

    def alpha(self, t: Tensor) -> Tensor:
        """1 - cos(pi (1 - t) / 2), as 2 sin^2 of half the angle, which keeps its digits near t = 1."""
        return 2 * (QUARTER / 2 * (1 - t)).sin() ** 2

    def alpha_prime(self, t: Tensor) -> Tensor:
        """-(pi / 2) sin(pi (1 - t) / 2)."""
        return -QUARTER * (QUARTER * (1 - t)).sin()

    def weight(self, t: Tensor) -> Tensor:
        """(pi / 2) tan(pi (1 - t) / 2), as a reciprocal in the first half, where 1 - t would round t away."""
        early = QUARTER / (QUARTER * t).tan()
        return early.where(t < 0.5, QUARTER * (QUARTER * (1 - t)).tan())


class MaskedCosine(NoiseSchedule):
    """alpha = (1 - eps) cos(pi t / 2): here the *clean* probability is the cosine (block diffusion's code).

    Masks less than ``linear`` at every t (.29 at t = .5). w = (pi / 2) (1 - eps) sin(pi t / 2) / (1 - alpha).
    """

    name: Literal["masked_cosine"] = "masked_cosine"
    eps: float = Field(default=1e-3, ge=0, lt=1, description="masking probability at t = 0")

    def alpha(self, t: Tensor) -> Tensor:
        """(1 - eps) cos(pi t / 2), as a sine, which is exactly 0 at t = 1."""
        return (1 - self.eps) * (QUARTER * (1 - t)).sin()

    def alpha_prime(self, t: Tensor) -> Tensor:
        """-(pi / 2) (1 - eps) sin(pi t / 2)."""
        return -QUARTER * (1 - self.eps) * (QUARTER * t).sin()

    def weight(self, t: Tensor) -> Tensor:
        """-alpha' / (1 - alpha), where 1 - alpha = eps + (1 - eps) 2 sin^2(pi t / 4) keeps its digits near t = 0."""
        masked = self.eps + (1 - self.eps) * 2 * (QUARTER / 2 * t).sin() ** 2
        return -self.alpha_prime(t) / masked
