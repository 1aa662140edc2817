"""One prediction of a canvas, and which of its tokens are accepted.

Shapes: B rows, C positions of a canvas, n = B C, H hidden size, K columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tide_specs import Head

_ELEMENTS = 1 << 23
"""Logits of a slice: several copies of it live at once, some in float64."""


@runtime_checkable
class SelfConditioned(Protocol):
    """A decoding session whose model can read what it predicted in the step before."""

    def recall(self, logits: Tensor) -> Tensor:
        """Logits [n, K] of a prediction -> what the model reads of it [n, H]."""
        ...

    def condition(self, recalled: Tensor | None) -> None:
        """Let ``hidden`` read a prediction [B, C, H], zero for a row's first step; ``None``: nothing."""
        ...


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Of every position [B, C]: a drawn token, the likeliest one, and the entropy in nats after the temperature.

    ``recalled`` [B, C, H]: what the model can read of the prediction in the next step.
    """

    drawn: Tensor
    likeliest: Tensor
    entropy: Tensor
    recalled: Tensor | None


def predict(
    hidden: Tensor,
    head: Head,
    *,
    temperature: Tensor,
    uniform: Tensor,
    forbidden: int | None,
    session: SelfConditioned | None,
) -> Prediction:
    """Hidden [B, C, H], temperature [B], numbers in [0, 1) [B, C] -> the prediction, in slices of the positions.

    The column ``forbidden`` has no probability. At temperature 0 the likeliest token is drawn, and the entropy is that of
    the distribution at temperature 1.
    """
    rows, width = uniform.shape
    heat, numbers = temperature.repeat_interleave(width), uniform.flatten()
    flat, parts = hidden.flatten(0, 1), list[tuple[Tensor, Tensor, Tensor]]()
    recalled: list[Tensor] = []
    for part in head.slices(len(flat), elements=_ELEMENTS):
        logits = head.logits(flat[part])
        if forbidden is not None:
            logits[:, forbidden] = -torch.inf
        logits = logits / torch.where(heat[part] > 0, heat[part], 1.0).to(logits.dtype)[:, None]
        likeliest = logits.argmax(dim=1)
        drawn = torch.where(heat[part] > 0, draw(logits, numbers[part]), likeliest)
        parts.append((drawn, likeliest, entropy(logits)))
        if session is not None:
            recalled.append(session.recall(logits))
    drawn, likeliest, entropies = (torch.cat(column).reshape(rows, width) for column in zip(*parts, strict=True))
    return Prediction(
        drawn=drawn,
        likeliest=likeliest,
        entropy=entropies,
        recalled=torch.cat(recalled).reshape(rows, width, -1) if recalled else None,
    )


def entropy(logits: Tensor) -> Tensor:
    """Logits [n, K] -> entropy [n] in nats."""
    log_p = logits.log_softmax(dim=1)
    # A column without probability contributes 0 * -inf, which must count as 0.
    return -(log_p.exp() * log_p.clamp(min=-1e4)).sum(dim=1)


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """Logits [n, K] and numbers in [0, 1) [n] -> tokens [n], by inversion: one number for each position."""
    reached = logits.double().softmax(dim=1).cumsum(dim=1)
    wanted = uniform[:, None] * reached[:, -1:]
    return torch.searchsorted(reached, wanted, right=True)[:, 0].clamp(max=logits.shape[1] - 1)


def accepted(entropy: Tensor, open_: Tensor, bound: float) -> Tensor:
    """Entropies [B, C] -> which open positions [B, C] are accepted: at least one in every row that has any.

    The k lowest, such that their sum without the largest is at most ``bound``; of equal ones the leftmost first.
    """
    order = entropy.masked_fill(~open_, torch.inf).argsort(dim=1, stable=True)
    ordered = entropy.masked_fill(~open_, 0.0).gather(1, order)
    within = ordered.cumsum(dim=1) - ordered <= bound
    return torch.zeros_like(open_).scatter(1, order, within) & open_
