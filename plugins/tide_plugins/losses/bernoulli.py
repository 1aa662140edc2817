"""Bernoulli terms of chunk likelihoods, in log space.

Shapes: c chunks. lp: log-likelihood of a chunk, x = lp / T <= 0, p = exp(x).

Why log space: p of an unlikely chunk underflows or meets a clamp, and its gradient is lost exactly where the student is
worst. The terms log p = x and log(1 - p) = log1mexp(x) keep value and gradient over the whole range.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LN2 = math.log(2.0)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - e^x) for x < 0, accurate at both ends, with a finite gradient everywhere.

    Each branch receives a harmless argument where the other is chosen, since autograd multiplies a discarded branch's
    infinite derivative by zero, which is NaN.
    """
    near = x > -LN2
    close = (-torch.expm1(torch.where(near, x, -LN2))).log()
    far = torch.log1p(-torch.where(near, -LN2, x).exp())
    return torch.where(near, close, far)


def tempered(lp: Tensor, temperature: float) -> Tensor:
    """Log-likelihoods [c] -> x = lp / T, strictly negative, in float32 or better.

    What lies within rounding of 0 (or above it, when it was born in bfloat16) becomes the resolution of a logit minus a
    normaliser of its size, 16 eps. Nearer values are noise, which the derivative 1 / |x| of log(1 - e^x) would amplify.
    The gradient passes unchanged.
    """
    lp = lp.to(torch.promote_types(lp.dtype, torch.float32))
    ceiling = -16 * torch.finfo(lp.dtype).eps
    below = torch.where(lp < ceiling, lp, ceiling + (lp - lp.detach()))
    return below / temperature


def log_odds_terms(lp: Tensor, temperature: float, clamp: float | None) -> tuple[Tensor, Tensor]:
    """Log-likelihoods [c] -> (log p, log(1 - p)), each [c].

    ``clamp`` is the published arithmetic: p = exp(lp / T) limited to [clamp, 1 - clamp], whose gradient is zero outside.
    """
    if clamp is None:
        x = tempered(lp, temperature)
        return x, log1mexp(x)
    p = (lp / temperature).exp().clamp(clamp, 1 - clamp)
    return p.log(), (1 - p).log()


def cross_entropy(target: tuple[Tensor, Tensor], predicted: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy [c] between Bernoullis, each given as (log p, log(1 - p)): -sum of target * log predicted."""
    return -(target[0].exp() * predicted[0] + target[1].exp() * predicted[1])


def divergence(target: tuple[Tensor, Tensor], predicted: tuple[Tensor, Tensor]) -> Tensor:
    """KL(target || predicted) [c] between Bernoullis, each given as (log p, log(1 - p))."""
    return sum_terms(target[0], predicted[0]) + sum_terms(target[1], predicted[1])


def sum_terms(log_a: Tensor, log_b: Tensor) -> Tensor:
    """One outcome's share of a KL: a * (log a - log b)."""
    return log_a.exp() * (log_a - log_b)
