"""The options that all losses on chunk likelihoods share."""

from __future__ import annotations

from pydantic import Field, PositiveFloat

from tide_specs import ChunkLoss


class BernoulliChunkLoss(ChunkLoss):
    """Base of the losses that treat a chunk's likelihood p = exp(LP / T) as the chance of a binary event.

    T is also a decision threshold: a chunk counts as likely for the teacher (p > 0.5) when its likelihood exceeds 0.5^T,
    which is .5 at T = 1, .25 at T = 2 and .031 at T = 5. No factor T^2 is applied.
    """

    temperature: PositiveFloat = Field(
        default=2.0, description="divides chunk log-likelihoods before exponentiation; the decision threshold is 0.5^T"
    )
    clamp: float | None = Field(
        default=None,
        gt=0,
        lt=0.5,
        description="limit likelihoods to [clamp, 1 - clamp], as published code does with 1e-7, losing the gradient "
        "outside; null: exact arithmetic in log space",
    )
