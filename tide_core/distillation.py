"""The distillation step: what a student studied, what its teachers taught, and how they compare.

Read ``Distillation.forward`` from top to bottom; it runs inside the wrapped module, so that DDP and FSDP see every
parameter where it is used.

Shapes: B rows, L tokens of a side, V teacher passes, H hidden size, N masked student positions, M teacher positions,
A active chunks of a teacher, K loss terms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tide_core.blame import blame
from tide_core.feature_terms import feature_terms
from tide_core.joint_units import joint_units, masked_by_unit
from tide_core.method import NEEDS_LIKELIHOODS, NEEDS_STATES, Lesson, Method
from tide_core.micro_batch import MicroBatch, Taught, Teaching
from tide_core.micro_batch_building import build_micro_batch
from tide_core.objective import LessonObjective, Objective
from tide_core.sliced_head import sliced_losses
from tide_core.sub_steps import answer_in_sub_steps, revealings_of, teacher_times
from tide_core.teacher_answers import TeacherAnswers
from tide_core.text_spans import SpanNumbers
from tide_core.times import draw_times
from tide_core.trust import trust
from tide_specs import Batch, Denoiser, Draws, FeatureLoss, Noise, PluginError, SequentialTeacherView


class Distillation(nn.Module):
    """Student, teachers and method as one module; its parameters are the student's, and what feature losses learn."""

    def __init__(self, student: Denoiser, method: Method, *, slice_elements: int = 1 << 24) -> None:
        super().__init__()
        self.student_module = student.module
        self.method = method
        self.slice_elements = slice_elements
        self.projections = nn.ModuleDict(_projections(student, method))
        self.register_buffer("weights", torch.tensor([term.loss.weight for term in method.terms]), persistent=False)
        self._spans = SpanNumbers(student.tokenizer) if method.resolutions else None
        # Held in a tuple: nothing may synchronise, shard or save what is frozen, and the student is registered above.
        self._student: tuple[Denoiser] = (student,)

    weights: Tensor
    """[K] the factor of each loss term."""

    @property
    def student(self) -> Denoiser:
        """The model that learns."""
        return self._student[0]

    @property
    def teachers(self) -> list[Denoiser]:
        """The frozen models that run; recorded teachers are not among them."""
        return [lesson.denoiser for lesson in self.method.lessons if lesson.denoiser is not None]

    def noise(self, batches: Sequence[Batch], draws: Draws, lattice: float) -> tuple[Noise, MicroBatch]:
        """Draw times, corrupt all sides, split the teachers' work; all on the CPU.

        batches: the same rows as each teacher pairs them with the student; one, without a teacher, where there is none.
        Returns the noise of the first.
        """
        method, first = self.method, batches[0]
        with blame(method.schedule, "while times were drawn", method.describe):
            t = draw_times(first, method.timesteps, method.schedule, draws, lattice, self.student.block_size)
        if first.teacher is None or not method.needs_teacher:
            noise = self._corrupt(first, t, draws, None)
            return noise, build_micro_batch(first, noise, (), None)
        unit = joint_units(batches)
        teachings = [
            self._teaching(lesson, batch, batch if len(batches) == 1 else masked_by_unit(batch, unit), t, draws, unit)
            for lesson, batch in zip(method.lessons, batches, strict=True)
        ]
        self._require_one_mask(teachings)
        noise = teachings[0].noise
        numbers = self._spans.number(first.student.ids, first.student.documents) if self._spans else {}
        spans = {name: numbers[name] for name in method.resolutions}
        return noise, build_micro_batch(first, noise, teachings, spans)

    def _corrupt(self, batch: Batch, t: Tensor, draws: Draws, lesson: Lesson | None) -> Noise:
        method = self.method
        tokenizer = None if lesson is None else lesson.teacher.tokenizer
        with blame(method.corruption, "while a batch was corrupted", method.describe):
            return method.corruption.corrupt(batch, t, method.schedule, draws, self.student.tokenizer, tokenizer)

    def _teaching(
        self, lesson: Lesson, batch: Batch, by_unit: Batch, t: Tensor, draws: Draws, unit: Tensor
    ) -> Teaching:
        noise = self._corrupt(by_unit, t, draws, lesson)
        assert batch.teacher is not None and noise.teacher is not None
        with blame(lesson.view, "while the teacher's passes were planned", self.method.describe):
            passes = lesson.view.passes(batch.teacher, noise.teacher.masked, draws)
            revealings = None
            if isinstance(lesson.view, SequentialTeacherView):
                times, masked = teacher_times(batch, noise.t), noise.teacher.masked
                revealings = revealings_of(lesson.view, batch.teacher, masked, times, self.method.schedule, draws)
        return Teaching(
            batch=batch, noise=noise, passes=passes, columns=lesson.columns, unit=unit, revealings=revealings
        )

    def _require_one_mask(self, teachings: Sequence[Teaching]) -> None:
        """What the student must predict cannot depend on who teaches it."""
        first = teachings[0].noise.student
        for other in teachings[1:]:
            if not torch.equal(first.noised, other.noise.student.noised):
                corruption = self.method.describe(self.method.corruption)
                raise PluginError(
                    f"{corruption} noised the same student tokens in two ways for two teachers; its draws for the student "
                    "must depend on the student's side alone"
                )

    def counts(self, work: MicroBatch) -> Tensor:
        """[K] float32: what each term is divided by, for one micro-batch alone."""
        terms = zip(self.method.denominators(), self.method.terms, strict=True)
        return torch.tensor([float(work.count(kind, term.lesson)) for kind, term in terms])

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

    def teach(self, work: MicroBatch) -> list[TeacherAnswers]:
        """Run each frozen teacher on all its passes at once and keep what the losses need."""
        return [self._answers(number, taught) for number, taught in enumerate(work.taught)]

    @torch.no_grad()
    def _answers(self, number: int, taught: Taught) -> TeacherAnswers:
        method, lesson, rows = self.method, self.method.lessons[number], taught.rows
        counted = method.reads_likelihoods or method.asks(number, NEEDS_LIKELIHOODS)
        if not counted and not method.losses(number):
            return TeacherAnswers()
        teacher = lesson.teacher
        if not isinstance(teacher, Denoiser):
            assert rows.known is not None  # the feeder asked the record
            return TeacherAnswers(
                likelihoods=_by_chunk(rows.known.likelihood, taught) if counted else None,
                known=rows.known,
                columns=teacher.columns,
            )
        answered, head = self._heard(teacher, taught), teacher.head()
        likelihoods = None
        if counted:
            tokens = head.log_likelihood(answered, rows.target, elements=self.slice_elements)
            likelihoods = _by_chunk(tokens, taught)
        kept = method.asks(number, NEEDS_STATES)
        return TeacherAnswers(
            likelihoods=likelihoods, hidden=answered if kept else None, head=head, columns=int(head.weight.shape[0])
        )

    def _heard(self, teacher: Denoiser, taught: Taught) -> Tensor:
        """Hidden states [M, H] of a teacher where it answers, from all its passes at once or from one after another."""
        rows, side = taught.rows, taught.side
        if rows.sub_steps is not None:
            return answer_in_sub_steps(teacher, side, rows, elements=self.slice_elements)
        hidden = teacher.hidden_views(rows.noised, side.ids, side.lengths, side.documents)
        return hidden.flatten(0, 2)[rows.index]

    def compare(
        self,
        studied: Tensor,
        work: MicroBatch,
        answers: Sequence[TeacherAnswers],
        counts: Tensor,
        progress: float,
    ) -> tuple[Tensor, Tensor]:
        """Evaluate every loss of the run: in one pass over slices of the head, and on hidden states beside it."""
        method = self.method
        with blame(method.interpolation, "while it was evaluated", method.describe):
            alone = method.interpolation.weight(progress, work.student.t)
        objective = Objective(
            terms=method.terms,
            scales=self.weights / counts.clamp(min=1),
            progress=progress,
            interpolation=alone,
            lessons=self._lesson_objectives(work, answers, progress),
            slice_elements=self.slice_elements,
            describe=method.describe,
        )
        features = feature_terms(studied, self.student.head(), work, answers, objective, self.projections)
        if torch.is_autocast_enabled(studied.device.type):
            studied = studied.to(torch.get_autocast_dtype(studied.device.type))
        total, terms = sliced_losses(studied, self.student.head(), work, answers, objective)
        if features is None:
            return total, terms
        return total + features.sum(), terms + features.detach()

    def _lesson_objectives(
        self, work: MicroBatch, answers: Sequence[TeacherAnswers], progress: float
    ) -> list[LessonObjective]:
        factors = trust(self.method, work, answers, progress)
        return [
            self._lesson_objective(lesson, taught, work, progress, factor)
            for lesson, taught, factor in zip(self.method.lessons, work.taught, factors, strict=False)
        ]

    def _lesson_objective(
        self, lesson: Lesson, taught: Taught, work: MicroBatch, progress: float, factor: Tensor | None
    ) -> LessonObjective:
        with blame(lesson.interpolation, "while it was evaluated", self.method.describe):
            return LessonObjective(
                interpolation_tokens=lesson.interpolation.weight(progress, work.student.t),
                interpolation_chunks=lesson.interpolation.weight(progress, taught.chunks.t),
                columns=lesson.columns,
                bridge=lesson.bridge,
                factor=factor,
            )


def _by_chunk(tokens: Tensor, taught: Taught) -> Tensor:
    """Log-likelihoods [M] of teacher tokens -> of each active chunk [A], in float32."""
    sums = torch.zeros(taught.chunks.t.shape[0], device=tokens.device)
    return sums.index_add(0, taught.rows.chunk, tokens)


def _projections(student: Denoiser, method: Method) -> dict[str, nn.Module]:
    """Build what feature losses learn; a term's number -> its module."""
    built: dict[str, nn.Module] = {}
    for number, term in enumerate(method.terms):
        if isinstance(term.loss, FeatureLoss) and term.lesson is not None:
            teacher = method.lessons[term.lesson].denoiser
            if teacher is None:
                raise PluginError(
                    f"{method.describe(term.loss)} compares hidden states, and a recorded teacher has none"
                )
            sizes = (int(model.head().weight.shape[1]) for model in (student, teacher))
            with blame(term.loss, "while its projections were built", method.describe):
                built[str(number)] = term.loss.build(*sizes)
    return built
