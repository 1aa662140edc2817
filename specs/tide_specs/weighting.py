"""Weightings: how much a teacher is listened to, over training and over the text.

Shapes: c chunks of one teacher, T teachers of the run.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .component import Component

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class WeightingContext:
    """What a weighting may know of c chunks.

    t [c] float32: time of the chunk; progress: step / steps, in [0, 1]; teacher: number of the teacher that is weighed,
    0..T-1; likelihoods [c, T] float32: log-likelihood in nats that each teacher gives to the text that is masked together
    with the chunk, -inf where a teacher says nothing about it; zeros unless ``reads_likelihoods``.
    """

    t: Tensor
    progress: float
    teacher: int
    likelihoods: Tensor


class TeacherWeighting(Component):
    """Kind ``weighting``. Multiplies every loss that compares with one teacher, chunk by chunk."""

    kind: ClassVar[str] = "weighting"
    reads_likelihoods: ClassVar[bool] = False
    """Whether ``at.likelihoods`` is looked at; the core then computes it, whatever the losses need."""

    @abstractmethod
    def factor(self, at: WeightingContext) -> Tensor:
        """Return factors [c] >= 0, without gradient."""
        raise NotImplementedError
