"""Everything one forward pass needs, prepared on the CPU, so that the device is never asked a question.

Which positions reach the head, which chunk they belong to and where the head's slices are cut are integers that depend
only on the data and the noise. Working them out before the transfer spares the device every synchronisation.

Shapes: B rows, L tokens of a side, V teacher passes, N masked student positions, M masked teacher positions, A active
chunks (numbered in the order of their student tokens), k tokens of a cached answer. What a teacher has (M, A, V, its L)
every teacher of the run has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tide_specs import Batch, Denominator, Noise, SharedColumns, Side, TeacherPass
from tide_specs.batch import TensorRecord

Count = Denominator | Literal["compared_tokens"]
"""``compared_tokens``: masked positions that the teacher answers over shared columns."""


class Cut(NamedTuple):
    """A place between two of the N positions; how many active chunks and shared positions of each teacher precede it."""

    position: int
    chunks: tuple[int, ...]
    shared: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class StudentRows(TensorRecord):
    """The N positions that the student predicts, in row-major order.

    index int64: place in the flattened [B * L]; target int64; t, weight float32; maskable float32: maskable tokens of
    the position's sequence.
    """

    index: Tensor
    target: Tensor
    t: Tensor
    weight: Tensor
    maskable: Tensor


@dataclass(frozen=True, kw_only=True)
class KnownAnswers(TensorRecord):
    """What a cache knows of the M teacher positions, in the order of ``TeacherRows``.

    likelihood [M] float32: log p(target). Where the cache holds distributions: ids [M, k] int64 and log_p [M, k] float32,
    the most likely tokens, and rest [M] float32, the probability of all others.
    """

    likelihood: Tensor
    ids: Tensor | None = None
    log_p: Tensor | None = None
    rest: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class SubStep(TensorRecord):
    """One of a teacher's passes that follow each other.

    rows int64: which of the M positions keep this pass's answer; places int64 [r]: where in the flattened [B * L] tokens
    drawn from it are written; uniform float64 [r]: what they are drawn with.
    """

    rows: Tensor
    places: Tensor
    uniform: Tensor


@dataclass(frozen=True, kw_only=True)
class SubSteps(TensorRecord):
    """The passes of a teacher that sees what it wrote in those before."""

    steps: tuple[SubStep, ...]

    def to(self, device: torch.device | str) -> SubSteps:
        """Return a copy whose tensors live on ``device``."""
        return replace(self, steps=tuple(step.to(device) for step in self.steps))


@dataclass(frozen=True, kw_only=True)
class TeacherRows(TensorRecord):
    """The M positions that a teacher answers.

    noised [V, B, L]: input of each pass; index int64 [M]: place in the flattened [V * B * L]; target int64 [M];
    chunk int64 [M]: active chunk; known: the answers, where they come from a cache; sub_steps: where V = 1 and further
    passes depend on the answers of those before.
    """

    noised: Tensor
    index: Tensor
    target: Tensor
    chunk: Tensor
    known: KnownAnswers | None = None
    sub_steps: SubSteps | None = None


@dataclass(frozen=True, kw_only=True)
class ChunkRows(TensorRecord):
    """The A active chunks of one teacher.

    t, weight at the first student token; student_tokens, teacher_tokens, bytes, relation; first [A] int64: which of the N
    positions is the first student token; teacher_first [A] int64: which of the M positions is the first teacher token;
    sequence [A] int64: number of the sequence; unit [A] int64: number, over all teachers, of the text that is masked as
    one; word, line [A] int64: number of the span that the chunk begins in, where a loss asks for it.
    """

    t: Tensor
    weight: Tensor
    student_tokens: Tensor
    teacher_tokens: Tensor
    bytes: Tensor
    relation: Tensor
    first: Tensor
    teacher_first: Tensor
    sequence: Tensor
    unit: Tensor
    word: Tensor | None = None
    line: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Taught(TensorRecord):
    """One teacher's part of a micro-batch.

    chunk [N] int64: active chunk of each student position or -1; row [N] int64: row of ``TeacherRows`` with the same
    token, -1 where there is none; column [N] int64: the target as a shared vocabulary column, -1 where there is none;
    shared int64: those of the N positions whose token the teacher answers over shared columns.
    """

    side: Side
    rows: TeacherRows
    chunks: ChunkRows
    chunk: Tensor
    row: Tensor
    column: Tensor
    shared: Tensor


@dataclass(frozen=True, kw_only=True)
class MicroBatch(TensorRecord):
    """A batch, its noise and the work that they imply.

    taught: one entry per teacher. ``cuts``: where the head may be cut without cutting a chunk, from 0 to N. ``counts``:
    of the student's side, what loss terms are divided by. units: how many texts are masked as one.
    """

    side: Side
    noised: Tensor
    student: StudentRows
    taught: tuple[Taught, ...]
    cuts: Sequence[Cut]
    counts: Mapping[Count, int]
    tokens: int
    units: int

    def to(self, device: torch.device | str) -> MicroBatch:
        """Return a copy whose tensors live on ``device``."""
        return replace(super().to(device), taught=tuple(one.to(device) for one in self.taught))

    def count(self, kind: Count, teacher: int | None) -> int:
        """Return what a term is divided by, for this micro-batch alone; ``teacher`` by number where it compares with one."""
        if kind in self.counts or teacher is None:
            return self.counts[kind]
        taught = self.taught[teacher]
        return len(taught.shared) if kind == "compared_tokens" else len(taught.chunks.t)


@dataclass(frozen=True, kw_only=True)
class Revealing:
    """What a sub-step of a teacher reveals: revealed [B, L] bool, with tokens drawn by uniform [B, L] float64."""

    revealed: Tensor
    uniform: Tensor


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What one teacher brings to a micro-batch: the batch as it pairs it with the student, its noise, and its passes.

    unit [B, L] int64: the text that is masked as one, per student token, -1 outside every chunk of every teacher;
    revealings: what each sub-step but the last reveals, ``None`` for a teacher that makes all its passes at once.
    """

    batch: Batch
    noise: Noise
    passes: Sequence[TeacherPass]
    columns: SharedColumns | None
    unit: Tensor
    revealings: Sequence[Revealing] | None = None
