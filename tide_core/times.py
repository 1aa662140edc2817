"""The times t of a batch. Shapes: B rows, L student tokens, K blocks of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from tide_core.settings import Timesteps
from tide_specs import Batch, Draws, NoiseSchedule


def draw_times(
    batch: Batch, timesteps: Timesteps, schedule: NoiseSchedule, draws: Draws, lattice: float, block: int | None
) -> Tensor:
    """Draw t [B, L] float32, constant over a sequence or over each of its blocks.

    ``lattice``: the number in [0, 1) that all rows of one effective batch share, for lattice sampling.
    """
    length = batch.student.ids.shape[1]
    span = block if timesteps.per == "block" and block else length
    uniform = draws.uniform("time", -(-length // span))
    spread = _spread(uniform, batch, timesteps, lattice)
    low, high = schedule.interval()
    return (low + (high - low) * spread).float().repeat_interleave(span, dim=1)[:, :length]


def _spread(uniform: Tensor, batch: Batch, timesteps: Timesteps, lattice: float) -> Tensor:
    """[B, K] independent numbers -> [B, K] numbers spread over [0, 1) across the effective batch."""
    if timesteps.sampling == "independent":
        return uniform
    size = batch.effective_size
    # Blocks of a row are shifted against each other, or all blocks of the first row would stay nearly clean.
    place = (batch.positions[:, None] + torch.arange(uniform.shape[1])) % size
    if timesteps.sampling == "stratified":
        return (uniform + place) / size
    return (lattice + place / size) % 1.0
