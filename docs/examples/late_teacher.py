"""An interpolation: the student alone first, then the teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tide_specs import Interpolation, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class LateTeacher(Interpolation):
    """lambda = 0 until ``start`` of the run is over, then rises in a straight line to 1, whatever the noise."""

    name: Literal["late_teacher"] = "late_teacher"
    start: float = Field(default=0.3, ge=0, lt=1, description="training progress at which the teacher comes in")

    def weight(self, progress: float, t: Tensor) -> Tensor:
        """One weight per time, in the dtype of t."""
        import torch

        return torch.full_like(t, max(0.0, progress - self.start) / (1 - self.start))


@hookimpl
def tide_interpolations() -> list[type[LateTeacher]]:
    """Contribute the interpolation."""
    return [LateTeacher]
