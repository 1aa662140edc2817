"""Everything one forward pass needs, prepared on the CPU, so that the device is never asked a question.

Which positions reach the head, which chunk they belong to and where the head's slices are cut are integers that depend
only on the data and the noise. Working them out before the transfer spares the device every synchronisation.

Shapes: B rows, L tokens of a side, V teacher passes, N masked student positions, M masked teacher positions, A active
chunks (numbered in the order of their student tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tide_specs import Batch, Denominator, Noise, SharedColumns, Side, TeacherPass
from tide_specs.batch import TensorRecord

Count = Denominator | Literal["compared_tokens"]
"""``compared_tokens``: masked positions that the teacher answers over shared columns."""


class Cut(NamedTuple):
    """A place between two of the N positions; how many active chunks and shared positions come before it."""

    position: int
    chunk: int
    shared: int


@dataclass(frozen=True, kw_only=True)
class StudentRows(TensorRecord):
    """The N positions that the student predicts, in row-major order.

    index int64: place in the flattened [B * L]; target int64; t, weight float32; chunk int64: active chunk or -1;
    maskable float32: maskable tokens of the position's sequence; teacher int64: row of ``TeacherRows`` with the same
    token, -1 where there is none; column int64: the target as a shared vocabulary column, -1 where there is none.
    """

    index: Tensor
    target: Tensor
    t: Tensor
    weight: Tensor
    chunk: Tensor
    maskable: Tensor
    teacher: Tensor
    column: Tensor


@dataclass(frozen=True, kw_only=True)
class TeacherRows(TensorRecord):
    """The M positions that the teacher answers.

    noised [V, B, L]: input of each pass; index int64 [M]: place in the flattened [V * B * L]; target int64 [M];
    chunk int64 [M]: active chunk.
    """

    noised: Tensor
    index: Tensor
    target: Tensor
    chunk: Tensor


@dataclass(frozen=True, kw_only=True)
class ChunkRows(TensorRecord):
    """The A active chunks; t and weight at the first student token; token counts of both sides; bytes; relation."""

    t: Tensor
    weight: Tensor
    student_tokens: Tensor
    teacher_tokens: Tensor
    bytes: Tensor
    relation: Tensor


@dataclass(frozen=True, kw_only=True)
class MicroBatch(TensorRecord):
    """A batch, its noise and the work that they imply.

    ``shared`` int64: those of the N positions whose token the teacher answers over shared vocabulary columns.
    ``cuts``: where the head may be cut without cutting a chunk, from 0 to N. ``counts``: what the loss terms are divided
    by, for this micro-batch alone.
    """

    side: Side
    noised: Tensor
    student: StudentRows
    chunks: ChunkRows
    teacher_side: Side | None
    teacher: TeacherRows | None
    shared: Tensor
    cuts: Sequence[Cut]
    counts: dict[Count, int]
    tokens: int


def build_micro_batch(
    batch: Batch, noise: Noise, passes: Sequence[TeacherPass], columns: SharedColumns | None
) -> MicroBatch:
    """Work out positions, chunks and slices of a noised batch, all on the CPU."""
    masked = noise.student.masked.reshape(-1)
    index = masked.nonzero()[:, 0]
    chunk_of = batch.student.chunk.reshape(-1)[index] if batch.teacher is not None else torch.full_like(index, -1)
    active, chunk = _number_chunks(chunk_of)
    target = batch.student.ids.reshape(-1)[index]
    teacher = _teacher_rows(batch, noise, passes, active)
    maskable = _maskable_in_sequence(batch.student)
    student = StudentRows(
        index=index,
        target=target,
        t=noise.t.reshape(-1)[index],
        weight=noise.student.weight.reshape(-1)[index],
        chunk=chunk,
        maskable=maskable.reshape(-1)[index],
        teacher=_matching_teacher(chunk, teacher, len(active)),
        column=_columns_of(target, columns),
    )
    shared = ((student.teacher >= 0) & (student.column >= 0)).nonzero()[:, 0]
    return MicroBatch(
        side=batch.student,
        noised=noise.student.noised,
        student=student,
        chunks=_chunk_rows(student, teacher, batch, active),
        teacher_side=batch.teacher,
        teacher=teacher,
        shared=shared,
        cuts=_cuts(chunk, shared),
        counts={
            "maskable_tokens": int(batch.student.maskable.sum()),
            "masked_tokens": len(index),
            "compared_tokens": len(shared),
            "sequences": _sequences(batch.student),
            "chunks": len(active),
        },
        tokens=int(batch.student.lengths.sum()),
    )


def _number_chunks(chunk_of: Tensor) -> tuple[Tensor, Tensor]:
    """Batch chunk of each position [N] -> (active chunks [A] in order of first appearance, active number [N] or -1)."""
    inside = chunk_of >= 0
    fresh = inside.clone()
    fresh[1:] &= chunk_of[1:] != chunk_of[:-1]
    number = torch.where(inside, fresh.cumsum(0) - 1, -1)
    return chunk_of[fresh], number


def _maskable_in_sequence(side: Side) -> Tensor:
    """[B, L] float32: how many maskable tokens the document of each token holds."""
    if side.documents is None:
        return side.maskable.sum(1, keepdim=True).float().expand(side.ids.shape)
    counts = torch.zeros(side.ids.shape[0], int(side.documents.max()) + 1)
    counts.scatter_add_(1, side.documents, side.maskable.float())
    return counts.gather(1, side.documents)


def _sequences(side: Side) -> int:
    """How many sequences (documents, when packed) hold a maskable token."""
    if side.documents is None:
        return int(side.maskable.any(1).sum())
    rows = torch.arange(side.ids.shape[0])[:, None].expand(side.ids.shape)
    return len(torch.stack([rows[side.maskable], side.documents[side.maskable]], 1).unique(dim=0))


def _teacher_rows(batch: Batch, noise: Noise, passes: Sequence[TeacherPass], active: Tensor) -> TeacherRows | None:
    if batch.teacher is None or noise.teacher is None:
        return None
    number = torch.full((batch.chunks + 1,), -1)  # the extra last entry answers chunk -1
    number[active] = torch.arange(len(active))
    chunk_of = number[batch.teacher.chunk]
    counts = torch.stack([p.counts for p in passes]) & (chunk_of >= 0)
    index = counts.reshape(-1).nonzero()[:, 0]
    place = index % chunk_of.numel()
    masked = torch.stack([p.masked for p in passes])
    return TeacherRows(
        noised=torch.where(masked, noise.teacher.noised, batch.teacher.ids),
        index=index,
        target=batch.teacher.ids.reshape(-1)[place],
        chunk=chunk_of.reshape(-1)[place],
    )


def _matching_teacher(chunk: Tensor, teacher: TeacherRows | None, chunks: int) -> Tensor:
    """[N]: the teacher row of each position's chunk, where that chunk is one token on both sides; otherwise -1."""
    if teacher is None:
        return torch.full_like(chunk, -1)
    row = torch.full((chunks + 1,), -1)
    row[teacher.chunk] = torch.arange(len(teacher.chunk))
    alone = (teacher.chunk.bincount(minlength=chunks) == 1) & (chunk[chunk >= 0].bincount(minlength=chunks) == 1)
    row[:chunks][~alone] = -1
    return row[chunk]


def _columns_of(target: Tensor, columns: SharedColumns | None) -> Tensor:
    if columns is None:
        return torch.full_like(target, -1)
    if columns.student_ids is None:
        return torch.where(target < columns.size, target, -1)
    ids = torch.from_numpy(columns.student_ids)
    place = torch.full((int(max(ids.max(), target.max() if len(target) else 0)) + 1,), -1)
    place[ids] = torch.arange(columns.size)
    return place[target]


def _chunk_rows(student: StudentRows, teacher: TeacherRows | None, batch: Batch, active: Tensor) -> ChunkRows:
    count = len(active)
    inside = student.chunk >= 0
    chunk = student.chunk[inside]
    first = torch.ones_like(chunk, dtype=torch.bool)
    first[1:] = chunk[1:] != chunk[:-1]
    return ChunkRows(
        t=student.t[inside][first],
        weight=student.weight[inside][first],
        student_tokens=chunk.bincount(minlength=count),
        teacher_tokens=torch.zeros_like(active) if teacher is None else teacher.chunk.bincount(minlength=count),
        bytes=batch.chunk_bytes[active],
        relation=batch.chunk_relation[active],
    )


def _cuts(chunk: Tensor, shared: Tensor) -> list[Cut]:
    """Every place between positions at which no chunk is cut; chunk [N], shared [S]."""
    starts = torch.ones(len(chunk) + 1, dtype=torch.bool)
    starts[1:-1] = (chunk[1:] != chunk[:-1]) | (chunk[1:] < 0)
    positions = starts.nonzero()[:, 0]
    begun = torch.zeros(len(chunk) + 1, dtype=torch.int64)
    begun[1:] = (starts[:-1] & (chunk >= 0)).cumsum(0)
    before = torch.searchsorted(shared, positions)
    return [Cut(*cut) for cut in zip(positions.tolist(), begun[positions].tolist(), before.tolist(), strict=True)]
