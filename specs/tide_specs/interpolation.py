"""Interpolations: how much a target leans on the teacher, by training progress and time (TIDE eq. 1-2)."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from .component import Component

if TYPE_CHECKING:
    from torch import Tensor


class Interpolation(Component):
    """Kind ``interpolation``."""

    kind: ClassVar[str] = "interpolation"

    @abstractmethod
    def weight(self, progress: float, t: Tensor) -> Tensor:
        """Progress in [0, 1] and times t [n] -> lambda [n] in [0, 1]; 0 trusts the student alone, 1 the teacher alone."""
        raise NotImplementedError
