"""Units of corruption: a chunk, or a token outside every chunk. Everything is O(length) and never waits for a device.

Shapes: B rows, L tokens of one side. A unit's leader is its first token; chunks are contiguous on each side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tide_specs import Batch, Draws, NoiseSchedule


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """Which units are hidden, all per student token and constant within a unit.

    t [B, L] float32: the unit's time; hidden [B, L] bool; weight [B, L] float32, zero where not hidden.
    """

    t: Tensor
    hidden: Tensor
    weight: Tensor


def leaders(chunk: Tensor) -> Tensor:
    """Chunk ids [B, L] (-1 outside) -> column [B, L] int64 of the first token of each token's unit."""
    column = torch.arange(chunk.shape[1], device=chunk.device).expand(chunk.shape)
    continues = torch.zeros_like(chunk, dtype=torch.bool)
    continues[:, 1:] = (chunk[:, 1:] == chunk[:, :-1]) & (chunk[:, 1:] >= 0)
    return column.masked_fill(continues, 0).cummax(1).values


def per_chunk(values: Tensor, chunk: Tensor, chunks: int) -> Tensor:
    """Values [B, L] that are constant within a chunk -> [C + 1]; the extra last entry, where id -1 points, is zero."""
    table = values.new_zeros(chunks + 1)
    table[chunk.flatten()] = values.flatten()
    table[-1] = 0
    return table


def hide_units(
    batch: Batch, t: Tensor, schedule: NoiseSchedule, draws: Draws, *, per_token: bool, correct: bool
) -> Hidden:
    """Draw which units of the student's side are hidden.

    t [B, L]: the time of each student token. ``per_token``: draw tokens on their own and hide a chunk when any token is
    drawn; ``correct``: weigh such chunks by their own masking rate.
    """
    side = batch.student
    leader = leaders(side.chunk)
    time = t.double().gather(1, leader)
    alpha = schedule.alpha(time)
    drawn = draws.uniform("mask", t.shape[1]).to(t.device)
    weight = schedule.weight(time)
    if per_token:
        hidden = drawn < 1 - alpha
        size = torch.zeros_like(leader).scatter_add_(1, leader, torch.ones_like(leader)).gather(1, leader)
        hits = torch.zeros_like(leader).scatter_add_(1, leader, hidden.long()).gather(1, leader)
        hidden = hits > 0
        weight = weight * rate_ratio(alpha, size) if correct else weight
    else:
        hidden = drawn.gather(1, leader) < 1 - alpha
    hidden = hidden & side.maskable
    return Hidden(t=time.float(), hidden=hidden, weight=weight.float().masked_fill(~hidden, 0.0))


def rate_ratio(alpha: Tensor, size: Tensor) -> Tensor:
    """What a chunk of ``size`` student tokens multiplies w(t) by when any drawn token hides it whole.

    The chunk is clean with probability alpha^n, so its own weight is -(alpha^n)' / (1 - alpha^n), which is
    w(t) * n alpha^(n-1) (1 - alpha) / (1 - alpha^n).
    """
    masked = 1 - alpha
    ratio = size * alpha ** (size - 1) * masked / -(size * torch.log1p(-masked)).expm1()
    return ratio.where(masked > 0, torch.ones_like(ratio))
