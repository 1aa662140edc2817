"""Schedules whose masking probability is linear in t. All tensors elementwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from tide_specs import NoiseSchedule

if TYPE_CHECKING:
    from torch import Tensor


class LinearAlpha(NoiseSchedule):
    """Base: alpha = 1 - t, w = 1 / t."""

    def alpha(self, t: Tensor) -> Tensor:
        """1 - t."""
        return 1 - t

    def alpha_prime(self, t: Tensor) -> Tensor:
        """-1."""
        return t * 0 - 1

    def weight(self, t: Tensor) -> Tensor:
        """1 / t."""
        return 1 / t


class Linear(LinearAlpha):
    """alpha = 1 - t, w = 1 / t: the masking probability is the time (LLaDA, TIDE)."""

    name: Literal["linear"] = "linear"


class LogLinear(NoiseSchedule):
    """alpha = 1 - (1 - eps) t: the total noise -log alpha of MDLM, which never hides everything; w = 1 / t exactly."""

    name: Literal["loglinear"] = "loglinear"
    eps: float = Field(default=1e-3, ge=0, lt=1, description="probability that a token is still clean at t = 1")

    def alpha(self, t: Tensor) -> Tensor:
        """1 - (1 - eps) t, as (1 - t) + eps t, which keeps its digits near t = 1."""
        return (1 - t) + self.eps * t

    def alpha_prime(self, t: Tensor) -> Tensor:
        """-(1 - eps)."""
        return t * 0 - (1 - self.eps)

    def weight(self, t: Tensor) -> Tensor:
        """1 / t: the factor 1 - eps cancels."""
        return 1 / t


class Clipped(LinearAlpha):
    """The linear schedule, trained on t in [beta, omega] only (block diffusion's answer to the variance of the gradient).

    Biased for likelihood: evaluate with t in [1e-3, 1], as under ``linear``. Short blocks like a narrow interval that leans to
    much noise (.45 to .95 for blocks of 4), long ones a wider one (.3 to .8 for blocks of 16).
    """

    name: Literal["clipped"] = "clipped"
    beta: float = Field(default=0.3, ge=0, lt=1, description="smallest time drawn in training")
    omega: float = Field(default=0.8, gt=0, le=1, description="largest time drawn in training")

    @model_validator(mode="after")
    def _ordered(self) -> Clipped:
        if self.beta >= self.omega:
            raise ValueError(f"beta ({self.beta}) must be smaller than omega ({self.omega})")
        return self

    def interval(self) -> tuple[float, float]:
        """[beta, omega]."""
        return (self.beta, self.omega)
