"""TIDAL: the target moves from the student to the teacher, along training and against noise (TIDE eq. 1-4).

Shapes: n masked positions, V shared vocabulary columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from tide_specs import Direction, Mix, TokenContext, TokenLoss

from .divergences import kl
from .refusals import reverse_objectives

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 0.15
MEAN_MID_RANGE = math.sqrt(2 * math.pi) * WIDTH * math.erf(0.5 / (WIDTH * math.sqrt(2)))
"""Mean of the mid-range weight over t in [0, 1], about 0.376 (also its mean over masked positions under linear noise)."""


class Tidal(TokenLoss):
    """TIDAL: forward KL to a target between the student's logits s and the teacher's u (TIDE eq. 3-4).

    r_t = softmax(((1 - lambda) s + lambda u) / T), held constant;  loss = w_mid(t) * KL(r_t || softmax(s / T)) * T^2,
    w_mid(t) = exp(-(t - 0.5)^2 / (2 * 0.15^2)), or 1.

    lambda comes from the run's ``interpolation``. The mid-range weights average 0.376, so switching them on silently
    shrinks the loss; ``normalise_mid_range`` divides by that mean. As lambda times the distance of the logits enters
    squared, the loss is small early in training by design. Not to be combined with a reverse objective (Appendix C).
    """

    name: Literal["tidal"] = "tidal"
    direction: ClassVar[Direction | None] = "forward"
    interpolated: ClassVar[bool] = True
    is_divergence: ClassVar[bool] = True

    temperature: PositiveFloat = Field(
        default=2.0, description="divides the logits of target and student; the loss is multiplied by its square"
    )
    mid_range_weight: bool = Field(default=True, description="weigh times near 0.5 most, as the paper does")
    normalise_mid_range: bool = Field(
        default=False, description="divide the mid-range weights by their mean over t, 0.376, to keep the loss's scale"
    )

    def per_token(self, student: Tensor, teacher: Tensor, at: TokenContext) -> Tensor:
        """Logits [n, V] of both sides -> losses [n]."""
        share = at.interpolation[:, None]
        target = ((1 - share) * student.detach() + share * teacher.detach()) / self.temperature
        losses = kl(target.log_softmax(1), (student / self.temperature).log_softmax(1)) * self.temperature**2
        return losses * self.time_weight(at.t) if self.mid_range_weight else losses

    def time_weight(self, t: Tensor) -> Tensor:
        """The mid-range weight of times t."""
        weight = (-((t - 0.5) ** 2) / (2 * WIDTH**2)).exp()
        return weight / MEAN_MID_RANGE if self.normalise_mid_range else weight

    def conflicts(self, mix: Mix) -> Iterable[str]:
        """Refuse reverse objectives in the same run."""
        return reverse_objectives(self.name, mix)
