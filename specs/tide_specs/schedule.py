"""Noise schedules: how likely a token stays clean at time t."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from .component import Component

if TYPE_CHECKING:
    from torch import Tensor


class NoiseSchedule(Component):
    """Kind ``schedule``. alpha(t) in [0, 1] falls from about 1 at t = 0 to about 0 at t = 1; all tensors elementwise."""

    kind: ClassVar[str] = "schedule"

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Probability that a token is clean at time t."""
        raise NotImplementedError

    @abstractmethod
    def alpha_prime(self, t: Tensor) -> Tensor:
        """Derivative of alpha with respect to t; never positive."""
        raise NotImplementedError

    def weight(self, t: Tensor) -> Tensor:
        """-alpha'(t) / (1 - alpha(t)), the weight of the cross-entropy bound. Override with an exact closed form."""
        return -self.alpha_prime(t) / (1 - self.alpha(t))

    def interval(self) -> tuple[float, float]:
        """Return the interval from which training draws t uniformly."""
        return (1e-3, 1.0)
