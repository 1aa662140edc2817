"""Rows -> one padded batch of tensors.

Shapes: B rows, L tokens of a side, padded to the longest row, rounded up; C chunks of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tide_specs import Batch, Side

from .rows import Row, RowSide

if TYPE_CHECKING:
    from torch import Tensor


def collate(
    rows: Sequence[Row],
    *,
    positions: Sequence[int] | NDArray[np.int64],
    effective_size: int,
    student_pad: int,
    teacher_pad: int = 0,
    length_multiple: int = 1,
    teacher_length_multiple: int = 1,
    bucket: int = 1,
) -> Batch:
    """Join rows into a batch; chunks are numbered over the whole batch, in the order of the rows.

    positions: place of each row in the effective batch of ``effective_size`` rows. Each side is padded to its longest
    row, rounded up to a multiple of the side's block and of ``bucket`` (64 keeps the number of shapes small for
    ``torch.compile``). Padding of packed rows is a document of its own, behind the last one.
    """
    counts = np.array([len(row.chunk_bytes) for row in rows], dtype=np.int64)
    offsets = np.cumsum(counts) - counts
    taught = [row.teacher for row in rows if row.teacher is not None]
    return Batch(
        student=_side([row.student for row in rows], offsets, student_pad, int(np.lcm(length_multiple, bucket))),
        teacher=_side(taught, offsets, teacher_pad, int(np.lcm(teacher_length_multiple, bucket))) if taught else None,
        chunk_bytes=_integers(np.concatenate([row.chunk_bytes for row in rows])),
        chunk_relation=_integers(np.concatenate([row.chunk_relation for row in rows])),
        samples=_integers(np.array([row.sample for row in rows])),
        positions=_integers(np.asarray(positions)),
        effective_size=effective_size,
    )


def _side(sides: Sequence[RowSide], offsets: NDArray[np.int64], pad: int, multiple: int) -> Side:
    lengths = np.array([len(side.ids) for side in sides], dtype=np.int64)
    width = -(-int(lengths.max()) // multiple) * multiple
    valid = np.arange(width) < lengths[:, None]

    def padded(values: Sequence[NDArray[Any]], filler: NDArray[np.int64] | int) -> NDArray[np.int64]:
        out = np.empty(valid.shape, dtype=np.int64)
        out[:] = filler
        out[valid] = np.concatenate(values)
        return out

    chunk = padded([side.chunk for side in sides], -1)
    documents = [side.documents for side in sides if side.documents is not None]
    beyond = np.array([[part[-1] + 1] for part in documents], dtype=np.int64)
    return Side(
        ids=_integers(padded([side.ids for side in sides], pad)),
        maskable=_integers(padded([side.maskable for side in sides], 0)).bool(),
        lengths=_integers(lengths),
        chunk=_integers(np.where(chunk >= 0, chunk + offsets[:, None], -1)),
        documents=_integers(padded(documents, beyond)) if documents else None,
    )


def _integers(values: NDArray[Any]) -> Tensor:
    import torch  # here, because worker processes import this package and encode without torch

    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
