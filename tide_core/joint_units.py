"""Chunks of several teachers, joined: what must be masked as one so that no chunk of any teacher is split.

Shapes: B rows, L student tokens, U units of the batch, C chunks of one teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tide_specs import Batch


def joint_units(batches: Sequence[Batch]) -> Tensor:
    """Number the units of the student's side [B, L], in text order, -1 outside every chunk of every teacher.

    Two neighbours are in one unit when they are in one chunk of any teacher. With one teacher the units are its chunks.
    """
    chunks = torch.stack([batch.student.chunk for batch in batches])
    linked = torch.zeros_like(chunks[0], dtype=torch.bool)
    linked[:, 1:] = ((chunks[:, :, 1:] == chunks[:, :, :-1]) & (chunks[:, :, 1:] >= 0)).any(0)
    inside = (chunks >= 0).any(0)
    number = (inside & ~linked).flatten().cumsum(0).reshape(inside.shape) - 1
    return torch.where(inside, number, -1)


def masked_by_unit(batch: Batch, unit: Tensor) -> Batch:
    """Return ``batch`` with units [B, L] in the place of one teacher's chunks, on both sides, for a corruption to hide."""
    assert batch.teacher is not None
    units = int(unit.max()) + 1
    of_chunk = torch.full((batch.chunks + 1,), -1)  # the extra last entry answers chunk -1
    of_chunk[batch.student.chunk.flatten()] = unit.flatten()
    of_chunk[-1] = -1
    return replace(
        batch,
        student=replace(batch.student, chunk=unit),
        teacher=replace(batch.teacher, chunk=of_chunk[batch.teacher.chunk]),
        chunk_bytes=torch.zeros(units, dtype=torch.int64),
        chunk_relation=torch.zeros(units, dtype=torch.int64),
    )
