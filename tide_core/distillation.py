"""The distillation step: what a student studied, what a teacher taught, and how the two compare.

Read ``Distillation.forward`` from top to bottom; it runs inside the wrapped module, so that DDP and FSDP see every
parameter where it is used.

Shapes: B rows, L tokens of a side, V teacher passes, H hidden size, N masked student positions, M teacher positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tide_core.blame import Describe, blame
from tide_core.blame import describe as describe_component
from tide_core.micro_batch import Count, MicroBatch, TeacherRows, build_micro_batch
from tide_core.settings import Timesteps
from tide_core.sliced_head import Objective, TeacherAnswers, sliced_losses
from tide_core.times import draw_times
from tide_specs import (
    Batch,
    ChunkLoss,
    Corruption,
    Denoiser,
    Draws,
    Head,
    Interpolation,
    Loss,
    Noise,
    NoiseSchedule,
    SharedColumns,
    TeacherView,
    TokenLoss,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """The components that define the objective of a run."""

    losses: Sequence[Loss]
    schedule: NoiseSchedule
    corruption: Corruption
    interpolation: Interpolation
    view: TeacherView
    timesteps: Timesteps
    describe: Describe = describe_component

    def needs(self, kind: type[Loss]) -> bool:
        """Whether any loss is of this kind."""
        return any(isinstance(loss, kind) for loss in self.losses)

    @property
    def needs_teacher(self) -> bool:
        """Whether any loss compares with a teacher; where none does, a teacher in the run costs nothing in a step."""
        return self.needs(TokenLoss) or self.needs(ChunkLoss)

    def denominators(self) -> list[Count]:
        """What each loss's sum is divided by; a token loss counts only the positions that it compares."""
        return [
            "compared_tokens"
            if isinstance(loss, TokenLoss) and loss.denominator == "masked_tokens"
            else loss.denominator
            for loss in self.losses
        ]


class Distillation(nn.Module):
    """Student, teacher and method as one module; its parameters are the student's alone."""

    def __init__(
        self,
        student: Denoiser,
        teacher: Denoiser | None,
        method: Method,
        *,
        columns: SharedColumns | None = None,
        slice_elements: int = 1 << 24,
    ) -> None:
        super().__init__()
        self.student_module = student.module
        self.method = method
        self.columns = columns
        self.slice_elements = slice_elements
        # Held in a tuple: a frozen teacher is no submodule, so nothing synchronises, shards or saves it.
        self.register_buffer("weights", torch.tensor([loss.weight for loss in method.losses]), persistent=False)
        self._models: tuple[Denoiser, Denoiser | None] = (student, teacher)

    weights: Tensor
    """[K] the factor of each loss term."""

    @property
    def student(self) -> Denoiser:
        """The model that learns."""
        return self._models[0]

    @property
    def teacher(self) -> Denoiser | None:
        """The frozen model, if any."""
        return self._models[1]

    def noise(self, batch: Batch, draws: Draws, lattice: float) -> tuple[Noise, MicroBatch]:
        """Draw times, corrupt both sides, split the teacher's work; all on the CPU."""
        method, teacher = self.method, self.teacher
        with blame(method.schedule, "while times were drawn", method.describe):
            t = draw_times(batch, method.timesteps, method.schedule, draws, lattice, self.student.block_size)
        with blame(method.corruption, "while a batch was corrupted", method.describe):
            noise = method.corruption.corrupt(
                batch, t, method.schedule, draws, self.student.tokenizer, teacher.tokenizer if teacher else None
            )
        if batch.teacher is None or noise.teacher is None or not method.needs_teacher:
            return noise, build_micro_batch(replace(batch, teacher=None), noise, (), None)
        with blame(method.view, "while the teacher's passes were planned", method.describe):
            passes = method.view.passes(batch.teacher, noise.teacher.masked, draws)
        return noise, build_micro_batch(batch, noise, passes, self.columns)

    def forward(self, work: MicroBatch, counts: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Return the total loss (scalar, with gradient) and the K scaled terms (detached).

        ``counts`` [K] float32: the denominator of each term over the effective batch of all processes.
        """
        answers = self.teach(work)
        studied = self.study(work)
        return self.compare(studied, work, answers, counts, progress)

    def study(self, work: MicroBatch) -> Tensor:
        """Hidden states [N, H] of the student at the positions that it must predict."""
        side = work.side
        hidden = self.student.hidden(work.noised, side.ids, side.lengths, side.documents)
        return hidden.flatten(0, 1)[work.student.index]

    @torch.no_grad()
    def teach(self, work: MicroBatch) -> TeacherAnswers:
        """Run the frozen teacher on all its passes at once and keep what the losses need."""
        teacher, side, rows = self.teacher, work.teacher_side, work.teacher
        if teacher is None or side is None or rows is None:
            return TeacherAnswers()
        hidden = teacher.hidden_views(rows.noised, side.ids, side.lengths, side.documents)
        answered, head = hidden.flatten(0, 2)[rows.index], teacher.head()
        likelihoods = self._chunk_likelihoods(head, answered, rows, work) if self.method.needs(ChunkLoss) else None
        if not self.method.needs(TokenLoss):
            return TeacherAnswers(likelihoods=likelihoods)
        return TeacherAnswers(likelihoods=likelihoods, hidden=answered, head=head)

    def compare(
        self, studied: Tensor, work: MicroBatch, answers: TeacherAnswers, counts: Tensor, progress: float
    ) -> tuple[Tensor, Tensor]:
        """Evaluate every loss of the run in one pass over slices of the head."""
        method = self.method
        with blame(method.interpolation, "while it was evaluated", method.describe):
            on_tokens = method.interpolation.weight(progress, work.student.t)
            on_chunks = method.interpolation.weight(progress, work.chunks.t)
        objective = Objective(
            losses=method.losses,
            scales=self.weights / counts.clamp(min=1),
            progress=progress,
            interpolation_tokens=on_tokens,
            interpolation_chunks=on_chunks,
            columns=self.columns,
            slice_elements=self.slice_elements,
            describe=method.describe,
        )
        if torch.is_autocast_enabled(studied.device.type):
            studied = studied.to(torch.get_autocast_dtype(studied.device.type))
        return sliced_losses(studied, self.student.head(), work, answers, objective)

    def _chunk_likelihoods(self, head: Head, hidden: Tensor, rows: TeacherRows, work: MicroBatch) -> Tensor:
        """Teacher hidden states [M, H] -> log-likelihood of each active chunk [A], in float32."""
        sums = torch.zeros(work.chunks.t.shape[0], device=hidden.device)
        tokens = head.log_likelihood(hidden, rows.target, elements=self.slice_elements)
        return sums.index_add(0, rows.chunk, tokens)
