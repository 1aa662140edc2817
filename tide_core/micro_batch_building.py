"""From a noised batch to the integers that a forward pass needs: positions, chunks, and where the head may be cut.

Shapes: B rows, L tokens of a side, N masked student positions, M masked teacher positions, A active chunks of a teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tide_core.micro_batch import ChunkRows, Cut, MicroBatch, StudentRows, Taught, TeacherRows, Teaching
from tide_core.sub_steps import sub_steps_of
from tide_specs import Batch, Noise, Resolution, SharedColumns, Side


def build_micro_batch(
    batch: Batch, noise: Noise, teachings: Sequence[Teaching], spans: Mapping[Resolution, Tensor] | None = None
) -> MicroBatch:
    """Work out positions, chunks and slices of a noised batch, all on the CPU.

    Only the student's side of ``batch`` and ``noise`` is read. spans: number of the word and of the line of each student
    token [B, L], where a loss asks for them; no slice then cuts a line.
    """
    index = noise.student.masked.reshape(-1).nonzero()[:, 0]
    student = StudentRows(
        index=index,
        target=batch.student.ids.reshape(-1)[index],
        t=noise.t.reshape(-1)[index],
        weight=noise.student.weight.reshape(-1)[index],
        maskable=_maskable_in_sequence(batch.student).reshape(-1)[index],
    )
    spans = {name: number.reshape(-1)[index] for name, number in (spans or {}).items()}
    taught = tuple(_taught(student, one, spans) for one in teachings)
    return MicroBatch(
        side=batch.student,
        noised=noise.student.noised,
        student=student,
        taught=taught,
        cuts=_cuts(len(index), taught, list(spans.values())),
        counts={
            "maskable_tokens": int(batch.student.maskable.sum()),
            "masked_tokens": len(index),
            "sequences": _sequences(batch.student),
        },
        tokens=int(batch.student.lengths.sum()),
        units=max((int(one.unit.max()) + 1 for one in teachings), default=0),
    )


def _taught(student: StudentRows, teaching: Teaching, spans: Mapping[Resolution, Tensor]) -> Taught:
    batch = teaching.batch
    assert batch.teacher is not None and teaching.noise.teacher is not None
    active, chunk = _number_chunks(batch.student.chunk.reshape(-1)[student.index])
    rows = _teacher_rows(batch.teacher, teaching, batch.chunks, active)
    row = _matching_teacher(chunk, rows, len(active))
    column = _columns_of(student.target, teaching.columns)
    return Taught(
        side=batch.teacher,
        rows=rows,
        chunks=_chunk_rows(student, chunk, rows, teaching, active, spans),
        chunk=chunk,
        row=row,
        column=column,
        shared=((row >= 0) & (column >= 0)).nonzero()[:, 0],
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
    return len(sequence_numbers(side)[side.maskable].unique())


def sequence_numbers(side: Side) -> Tensor:
    """[B, L] int64: number of the sequence (the document, when packed) of each token, rising over the batch."""
    rows = torch.arange(side.ids.shape[0])[:, None]
    if side.documents is None:
        return rows.expand(side.ids.shape)
    return rows * (int(side.documents.max()) + 1) + side.documents


def _teacher_rows(side: Side, teaching: Teaching, chunks: int, active: Tensor) -> TeacherRows:
    noised, passes = teaching.noise.teacher, teaching.passes
    assert noised is not None
    number = torch.full((chunks + 1,), -1)  # the extra last entry answers chunk -1
    number[active] = torch.arange(len(active))
    chunk_of = number[side.chunk]
    counts = torch.stack([p.counts for p in passes]) & (chunk_of >= 0)
    index = counts.reshape(-1).nonzero()[:, 0]
    place = index % chunk_of.numel()
    masked = torch.stack([p.masked for p in passes])
    return TeacherRows(
        noised=torch.where(masked, noised.noised, side.ids),
        index=index,
        target=side.ids.reshape(-1)[place],
        chunk=chunk_of.reshape(-1)[place],
        sub_steps=None if teaching.revealings is None else sub_steps_of(teaching.revealings, place),
    )


def _matching_teacher(chunk: Tensor, teacher: TeacherRows, chunks: int) -> Tensor:
    """[N]: the teacher row of each position's chunk, where that chunk is one token on both sides; otherwise -1."""
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


def _chunk_rows(
    student: StudentRows,
    chunk: Tensor,
    teacher: TeacherRows,
    teaching: Teaching,
    active: Tensor,
    spans: Mapping[Resolution, Tensor],
) -> ChunkRows:
    count, batch = len(active), teaching.batch
    first = _first_of(chunk, count)
    place = student.index[first]
    return ChunkRows(
        t=student.t[first],
        weight=student.weight[first],
        student_tokens=chunk[chunk >= 0].bincount(minlength=count),
        teacher_tokens=teacher.chunk.bincount(minlength=count),
        bytes=batch.chunk_bytes[active],
        relation=batch.chunk_relation[active],
        first=first,
        teacher_first=_first_of(teacher.chunk, count),
        sequence=sequence_numbers(batch.student).reshape(-1)[place],
        unit=teaching.unit.reshape(-1)[place],
        **{name: number[first] for name, number in spans.items()},
    )


def _first_of(chunk: Tensor, count: int) -> Tensor:
    """Active chunk of each position [n] (-1: none) -> first position of each chunk [count]."""
    place = torch.full((count + 1,), len(chunk))
    return place.scatter_reduce(0, chunk % (count + 1), torch.arange(len(chunk)), "amin")[:count]


def _cuts(positions: int, taught: Sequence[Taught], spans: Sequence[Tensor]) -> list[Cut]:
    """Every place between positions at which no chunk of any teacher, and no span, is cut."""
    free = torch.ones(positions + 1, dtype=torch.bool)
    for group in [*(one.chunk for one in taught), *spans]:
        free[1:-1] &= (group[1:] != group[:-1]) | (group[1:] < 0)
    places = free.nonzero()[:, 0]
    begun = [_begun(one.chunk)[places].tolist() for one in taught]
    before = [torch.searchsorted(one.shared, places).tolist() for one in taught]
    chunks, shared = (list(zip(*counts, strict=True)) or [()] * len(places) for counts in (begun, before))
    return [Cut(*cut) for cut in zip(places.tolist(), chunks, shared, strict=True)]


def _begun(chunk: Tensor) -> Tensor:
    """Chunk of each position [N] -> how many chunks begin before each place between positions [N + 1]."""
    starts = chunk >= 0
    starts[1:] &= chunk[1:] != chunk[:-1]
    begun = torch.zeros(len(chunk) + 1, dtype=torch.int64)
    begun[1:] = starts.cumsum(0)
    return begun
