"""The teacher positions of a batch, sorted by sample: what one record of a cache speaks of.

Shapes: V teacher passes, B rows, L tokens of the teacher's side, M teacher positions. Within a sample positions are sorted
by pass, then by place, so that padding and the other rows of a batch change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tide_core.micro_batch import TeacherRows
from tide_core.teacher_cache import mask_digest
from tide_specs import Side


@dataclass(frozen=True)
class BySample:
    """order [M] int64: the positions, sample by sample; counts: how many each sample has; masks: a digest of each."""

    order: Tensor
    counts: list[int]
    masks: list[bytes]


def by_sample(rows: TeacherRows, side: Side) -> BySample:
    """Sort the teacher positions of a noised batch by sample; all on the CPU."""
    count, length = side.ids.shape
    row = rows.index % (count * length) // length
    order = row.argsort(stable=True)
    counts: list[int] = row.bincount(minlength=count).tolist()
    passes, places = rows.index // (count * length), rows.index % length
    said = torch.stack([passes, places, rows.target])[:, order]
    masks = [
        mask_digest(part.numpy(), rows.noised[:, number, : int(side.lengths[number])].numpy())
        for number, part in enumerate(said.split(counts, 1))
    ]
    return BySample(order, counts, masks)
