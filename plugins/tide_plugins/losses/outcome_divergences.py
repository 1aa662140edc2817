"""KL divergences between distributions over outcomes, of which the teacher may call some impossible.

Shapes: c rows, K outcomes. log_p: the student's log-probabilities; q: the teacher's probabilities, without gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = torch.finfo(torch.float32).tiny


def tempered(log_p: Tensor, q: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Raise both sides to 1 / T and renormalise: (log p, q) [c, K]."""
    if temperature == 1:
        return log_p, q
    # By the largest first, so that a small T does not underflow every outcome.
    powers = (q / q.amax(1, keepdim=True)).pow(1 / temperature)
    return (log_p / temperature).log_softmax(1), powers / powers.sum(1, keepdim=True)


def forward_kl(q: Tensor, log_p: Tensor) -> Tensor:
    """KL(q || p) [c]; an outcome with q = 0 adds nothing, whatever p is."""
    return (torch.xlogy(q, q) - q * torch.where(q > 0, log_p, 0.0)).sum(1)


def reverse_kl(log_p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) [c]; q = 0 counts as the smallest normal number, so that an impossible outcome costs 87 nats times p."""
    possible = log_p > float("-inf")
    finite = torch.where(possible, log_p, 0.0)
    return torch.where(possible, finite.exp() * (finite - q.clamp(min=TINY).log()), 0.0).sum(1)


def moved(log_p: Tensor, q: Tensor, share: Tensor) -> Tensor:
    """The target (1 - share) p + share q [c, K], held constant; share [c]."""
    return (1 - share)[:, None] * log_p.detach().exp() + share[:, None] * q
