"""A noise schedule: alpha, its derivative, and the weight in a form that divides by no rounding error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tide_specs import NoiseSchedule, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class Smooth(NoiseSchedule):
    """alpha = 1 - t^2 (3 - 2 t): slow at both ends, so that nearly clean and nearly empty texts are seen more often."""

    name: Literal["example_smooth"] = "example_smooth"

    def alpha(self, t: Tensor) -> Tensor:
        """1 - t^2 (3 - 2 t)."""
        return 1 - t**2 * (3 - 2 * t)

    def alpha_prime(self, t: Tensor) -> Tensor:
        """-6 t (1 - t)."""
        return -6 * t * (1 - t)

    def weight(self, t: Tensor) -> Tensor:
        """-alpha' / (1 - alpha) = 6 (1 - t) / (t (3 - 2 t)): one t cancels, which keeps float32 exact near 0."""
        return 6 * (1 - t) / (t * (3 - 2 * t))


@hookimpl
def tide_noise_schedules() -> list[type[NoiseSchedule]]:
    """Offer the schedule."""
    return [Smooth]
