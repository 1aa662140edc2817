"""KL divergences between distributions over outcomes, of which the teacher may call some impossible.

Shapes: c rows, K outcomes. log_p: the student's log-probabilities; q: the teacher's probabilities.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST = math.log(torch.finfo(torch.float32).tiny)


def tempered(log_p: Tensor, q: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Raise both sides to 1 / T and renormalise: (log p, log q) [c, K]; log q is minus infinity where q is zero."""
    positive = q > 0
    # A safe argument where q is zero, so that nothing depends on how a backend treats log(0).
    log_q = torch.where(positive, torch.where(positive, q, 1.0).log(), float("-inf"))
    return (log_p / temperature).log_softmax(1), (log_q / temperature).log_softmax(1)


def forward_kl(log_q: Tensor, log_p: Tensor) -> Tensor:
    """KL(q || p) [c]; an outcome with q = 0 adds nothing, whatever p is."""
    positive = log_q > float("-inf")
    finite = torch.where(positive, log_q, 0.0)
    return torch.where(positive, finite.exp() * (finite - log_p), 0.0).sum(1)


def reverse_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) [c]; q = 0 counts as the smallest normal number, so that an impossible outcome costs 87 nats times p."""
    possible = log_p > float("-inf")
    finite = torch.where(possible, log_p, 0.0)
    bounded = torch.where(log_q > float("-inf"), log_q, LEAST)
    return torch.where(possible, finite.exp() * (finite - bounded), 0.0).sum(1)


def log_mixed(log_p: Tensor, log_q: Tensor, share: Tensor) -> Tensor:
    """log((1 - share) p + share q) [c, K], held constant; share [c]."""
    mixed = (1 - share)[:, None] * log_p.detach().exp() + share[:, None] * log_q.exp()
    positive = mixed > 0
    return torch.where(positive, torch.where(positive, mixed, 1.0).log(), float("-inf"))
