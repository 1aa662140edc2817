"""Certainty without a teacher: what the student has right, it shall be sure of.

Shapes: n masked positions, V vocabulary columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat

from tide_specs import SelfLoss, TokenContext

if TYPE_CHECKING:
    from torch import Tensor


class Certainty(SelfLoss):
    """The entropy of softmax(z / T) where the likeliest token is the true one, 0 elsewhere (dParallel: Chen et al. 2025,
    arXiv 2509.26488).

    A sampler that commits confident tokens commits more of them in a step. Combine it with ``cross_entropy``, for by itself it
    teaches nothing new. The published code divides by the number of tokens that are right, here the sum is divided by the
    masked tokens, so that a few right ones weigh little; it trains on texts that the model wrote itself.
    """

    name: Literal["certainty"] = "certainty"
    temperature: PositiveFloat = Field(
        default=0.5, description="divides the logits; below 1, what is nearly certain is left alone"
    )

    def per_token(self, student: Tensor, at: TokenContext) -> Tensor:
        """Student logits [n, V] -> entropies [n] in nats, 0 where the likeliest token is wrong."""
        log_p = (student / self.temperature).log_softmax(1)
        entropy = -(log_p.exp() * log_p).sum(1)
        return entropy * (student.argmax(1) == at.targets)
