"""Divergences between the distributions of teacher and student over one vocabulary, token by token.

Shapes: n masked positions, V shared vocabulary columns. p is the teacher, q the student, both at temperature T. Each loss is
multiplied by T^2, so that its gradient does not shrink as T grows (a logit's gradient scales as 1 / T^2).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from tide_specs import Direction, TokenContext, TokenLoss

if TYPE_CHECKING:
    from torch import Tensor


class TokenDivergence(TokenLoss):
    """Base of the divergences of this module: tempers both sides and restores the scale of the gradient."""

    is_divergence: ClassVar[bool] = True

    temperature: PositiveFloat = Field(
        default=2.0, description="divides both sides' logits; the loss is multiplied by its square"
    )

    def per_token(self, student: Tensor, teacher: Tensor, at: TokenContext) -> Tensor:
        """Logits [n, V] of both sides -> T^2 times the divergence [n], in nats."""
        log_q = (student / self.temperature).log_softmax(1)
        log_p = (teacher.detach() / self.temperature).log_softmax(1)
        return self.divergence(log_p, log_q) * self.temperature**2

    def divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """Log-probabilities [n, V] of teacher and student -> divergences [n]."""
        raise NotImplementedError


def kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """KL(a || b) [n] of two distributions given as log-probabilities [n, V]."""
    return (log_a.exp() * (log_a - log_b)).sum(1)


def log_mixture(log_a: Tensor, log_b: Tensor, share: float) -> Tensor:
    """log(share * a + (1 - share) * b), without leaving log space."""
    import math

    return (log_a + math.log(share)).logaddexp(log_b + math.log1p(-share))


class ForwardKL(TokenDivergence):
    """Forward KL, mode-covering: T^2 * sum_v p log(p / q)."""

    name: Literal["forward_kl"] = "forward_kl"
    direction: ClassVar[Direction | None] = "forward"

    def divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """KL(p || q)."""
        return kl(log_p, log_q)


class ReverseKL(TokenDivergence):
    """Reverse KL, mode-seeking: T^2 * sum_v q log(q / p)."""

    name: Literal["reverse_kl"] = "reverse_kl"
    direction: ClassVar[Direction | None] = "reverse"

    def divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """KL(q || p)."""
        return kl(log_q, log_p)


class JensenShannon(TokenDivergence):
    """Jensen-Shannon divergence, symmetric and at most T^2 ln 2: T^2 * (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2."""

    name: Literal["jensen_shannon"] = "jensen_shannon"
    direction: ClassVar[Direction | None] = "symmetric"

    def divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """JS(p, q)."""
        log_m = log_mixture(log_p, log_q, 0.5)
        return (kl(log_p, log_m) + kl(log_q, log_m)) / 2


with warnings.catch_warnings():
    # pydantic warns that the option hides ``Loss.direction``; here that is the purpose: the user chooses the direction.
    warnings.filterwarnings("ignore", message='Field name "direction"', category=UserWarning)

    class SkewKL(TokenDivergence):
        """Skew KL, bounded by T^2 log(1 / skew): the second distribution is mixed with the first (DistiLLM, 2024).

        forward: T^2 * KL(p || skew * p + (1 - skew) * q); reverse: T^2 * KL(q || skew * q + (1 - skew) * p).
        """

        name: Literal["skew_kl"] = "skew_kl"
        direction: Literal["forward", "reverse"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
            default="forward", description="weigh by the teacher (forward, mode-covering) or the student (reverse)"
        )
        skew: float = Field(default=0.1, gt=0, lt=1, description="share of the weighing distribution in the mixture")

        def divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
            """The skewed KL in the chosen direction."""
            first, second = (log_p, log_q) if self.direction == "forward" else (log_q, log_p)
            return kl(first, log_mixture(first, second, self.skew))
