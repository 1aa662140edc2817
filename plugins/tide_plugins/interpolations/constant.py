"""A fixed interpolation weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tide_specs import Interpolation

if TYPE_CHECKING:
    from torch import Tensor


class Constant(Interpolation):
    """The same lambda at every step and every time; 1 makes TIDAL plain forward KL."""

    name: Literal["constant"] = "constant"
    value: float = Field(default=0.5, ge=0, le=1, description="lambda; 0 trusts the student alone, 1 the teacher alone")

    def weight(self, progress: float, t: Tensor) -> Tensor:
        """Times t [n] -> lambda [n]."""
        return t * 0 + self.value
