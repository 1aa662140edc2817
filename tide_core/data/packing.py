"""Packing: several short examples in one row, so that little of a batch is padding.

Documents keep their own chunks and never see each other; each starts at a multiple of the block size because every
example was filled to whole blocks before it got here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import Row, RowSide

NEIGHBOURHOOD = 8192
"""Examples that are packed among each other: nearly as dense as over all of them, and linear in their number."""


def pack(lengths: NDArray[np.int64], capacity: Sequence[int]) -> list[NDArray[np.int64]]:
    """Lengths [n, sides] and the capacity of a row on each side -> the examples of each row, ascending.

    First-fit-decreasing by the student's length (column 0): longest first, each into the first row that has room for it
    on every side. Deterministic. Rows are ordered by their first example.
    """
    rows: list[NDArray[np.int64]] = []
    for start in range(0, len(lengths), NEIGHBOURHOOD):
        near = lengths[start : start + NEIGHBOURHOOD]
        rows += [start + members for members in _first_fit(near, np.asarray(capacity))]
    return sorted(rows, key=lambda members: int(members[0]))


def _first_fit(lengths: NDArray[np.int64], capacity: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    room = np.tile(capacity, (len(lengths), 1))
    members: list[list[int]] = []
    for example in np.lexsort(tuple(-lengths.T[::-1])).tolist():
        fits = (room[: len(members) + 1] >= lengths[example]).all(axis=1)
        row = int(fits.argmax())
        if row == len(members):
            members.append([])
        members[row].append(example)
        room[row] -= lengths[example]
    return [np.sort(np.array(group, dtype=np.int64)) for group in members]


def join(rows: Sequence[Row], sample: int) -> Row:
    """Put rows, one document each, behind each other; chunks are numbered on."""
    counts = np.array([len(row.chunk_bytes) for row in rows])
    offsets = (np.cumsum(counts) - counts).tolist()
    taught = [row.teacher for row in rows if row.teacher is not None]
    return Row(
        sample=sample,
        student=_join_sides([row.student for row in rows], offsets),
        teacher=_join_sides(taught, offsets) if taught else None,
        chunk_bytes=np.concatenate([row.chunk_bytes for row in rows]),
        chunk_relation=np.concatenate([row.chunk_relation for row in rows]),
    )


def _join_sides(sides: Sequence[RowSide], offsets: Sequence[int]) -> RowSide:
    def joined(of: Callable[[RowSide], NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([of(side) for side in sides])

    lengths = [len(side.ids) for side in sides]
    chunk = joined(lambda side: side.chunk)
    shift = np.repeat(np.array(offsets, dtype=np.int32), lengths)
    return RowSide(
        ids=joined(lambda side: side.ids),
        maskable=joined(lambda side: side.maskable),
        chunk=np.where(chunk >= 0, chunk + shift, chunk),
        documents=np.repeat(np.arange(len(sides), dtype=np.int32), lengths),
    )
