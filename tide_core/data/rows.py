"""Rows as training sees them, and the counts that say what became of the examples.

Shapes: L tokens of a side in one row (no padding yet), C chunks of the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class RowSide:
    """One side of a row.

    ids [L] int32; maskable [L] bool; chunk [L] int32: chunk of the row, 0..C-1, -1 outside; documents [L] int32: number of
    the document within the row when rows are packed, otherwise ``None``.
    """

    ids: NDArray[np.int32]
    maskable: NDArray[np.bool_]
    chunk: NDArray[np.int32]
    documents: NDArray[np.int32] | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: an example, or several when packed.

    sample: identity that seeds the row's noise: the example's ordinal number in its dataset (dropped examples count, so
    that it does not depend on the teacher or the window), or the row's number when packed. chunk_bytes, chunk_relation
    [C]: see ``tide_specs.AlignedPair``.
    """

    sample: int
    student: RowSide
    teacher: RowSide | None
    chunk_bytes: NDArray[np.int32]
    chunk_relation: NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class PreparationReport:
    """What became of the examples. Everything but ``examples`` and ``dropped`` counts kept examples only.

    truncated, teacher_truncated: examples whose end lies outside the window; tokens: of the student, fill included;
    trainable: student tokens that training may mask, fill included; fill: end-of-turn tokens that fill the last block;
    chunks: spans that both sides can be compared on; bytes: UTF-8 bytes of the messages before they were cut.
    """

    examples: int = 0
    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=lambda: {})
    truncated: int = 0
    teacher_truncated: int = 0
    tokens: int = 0
    trainable: int = 0
    fill: int = 0
    teacher_tokens: int = 0
    chunks: int = 0
    bytes: int = 0

    def __add__(self, other: PreparationReport) -> PreparationReport:
        """Add up two reports."""
        mine, others = self.as_dict(), other.as_dict()
        reasons = [*self.dropped, *(reason for reason in other.dropped if reason not in self.dropped)]
        dropped = {reason: self.dropped.get(reason, 0) + other.dropped.get(reason, 0) for reason in reasons}
        sums = {name: mine[name] + others[name] for name in mine if name != "dropped"}
        return PreparationReport(dropped=dropped, **sums)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain data; ``PreparationReport(**counts)`` is its inverse."""
        return asdict(self)

    def __str__(self) -> str:
        """Return one sentence for people."""
        parts = [f"{self.kept:,} of {self.examples:,} examples kept"]
        parts += [f"{count:,} dropped ({reason})" for reason, count in self.dropped.items() if count]
        if self.truncated or self.teacher_truncated:
            parts.append(f"{self.truncated:,} cut at the window, {self.teacher_truncated:,} at the teacher's")
        if self.kept:
            parts.append(f"{self.tokens:,} tokens ({self.trainable:,} trainable), {self.chunks:,} chunks")
        return "; ".join(parts)
