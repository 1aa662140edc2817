"""Schedules whose masking probability is a power or a logarithm of t. All tensors elementwise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat

from tide_specs import NoiseSchedule

if TYPE_CHECKING:
    from torch import Tensor


class Polynomial(NoiseSchedule):
    """alpha = 1 - t^k, w = k / t. Exponent 2 and 1/2 are the square and square-root schedules of block diffusion."""

    name: Literal["polynomial"] = "polynomial"
    exponent: PositiveFloat = Field(default=2.0, description="k; above 1 masks less than linear, below 1 more")

    def alpha(self, t: Tensor) -> Tensor:
        """1 - t^k, by expm1, which keeps its digits near t = 1."""
        return -(self.exponent * t.log()).expm1()

    def alpha_prime(self, t: Tensor) -> Tensor:
        """-k t^(k - 1)."""
        return -self.exponent * t ** (self.exponent - 1)

    def weight(self, t: Tensor) -> Tensor:
        """k / t."""
        return self.exponent / t


class Logarithmic(NoiseSchedule):
    """alpha = 1 - log2(1 + t), w = 1 / ((1 + t) ln(1 + t)): masks slightly more than linear."""

    name: Literal["logarithmic"] = "logarithmic"

    def alpha(self, t: Tensor) -> Tensor:
        """1 - log2(1 + t), as -log2(1 - (1 - t) / 2), which keeps its digits near t = 1."""
        return -(-(1 - t) / 2).log1p() / math.log(2)

    def alpha_prime(self, t: Tensor) -> Tensor:
        """-1 / ((1 + t) ln 2)."""
        return -1 / ((1 + t) * math.log(2))

    def weight(self, t: Tensor) -> Tensor:
        """1 / ((1 + t) ln(1 + t))."""
        return 1 / ((1 + t) * t.log1p())
