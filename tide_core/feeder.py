"""What each optimizer step trains on: the same samples and the same noise, however many processes share the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import torch

from tide_core.data import BatchPlan, PreparedData, collate
from tide_core.distillation import Distillation
from tide_core.draws import SampleDraws
from tide_core.method import Method, RecordedTeacher
from tide_core.micro_batch import MicroBatch
from tide_specs import Batch, Denoiser, Noise

Join = Callable[..., Batch]
"""``collate`` with the padding of both sides filled in; see ``joiner``."""


def joiners(module: Distillation) -> list[Join]:
    """Return ``joiner`` for each teacher; one, for the student alone, where there is none."""
    lessons = module.method.lessons
    return [joiner(module.student, lesson.teacher) for lesson in lessons] or [joiner(module.student, None)]


def joiner(student: Denoiser, teacher: Denoiser | RecordedTeacher | None) -> Join:
    """Return ``collate`` for these two models: their padding ids and the multiples that their rows must have."""
    return partial(
        collate,
        student_pad=student.tokenizer.pad_token_id,
        teacher_pad=teacher.tokenizer.pad_token_id if teacher else 0,
        length_multiple=student.block_size or 1,
        teacher_length_multiple=(teacher.block_size or 1) if teacher else 1,
    )


def recall(method: Method, work: MicroBatch, batches: Sequence[Batch], epochs: Sequence[int]) -> MicroBatch:
    """Fill in what recorded teachers answered to this very noise; ``epochs`` [B] are those of its draws."""
    taught = list(work.taught)
    for number, (lesson, batch) in enumerate(zip(method.lessons, batches, strict=False)):
        if number < len(taught) and not isinstance(lesson.teacher, Denoiser):
            rows = taught[number].rows
            known = lesson.teacher.answers(batch, epochs, rows)
            taught[number] = replace(taught[number], rows=replace(rows, known=known))
    return replace(work, taught=tuple(taught))


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which part of an effective batch this process computes."""

    batch_size: int
    accumulate: int
    process: int = 0
    processes: int = 1

    @property
    def effective_batch_size(self) -> int:
        """Rows of one optimizer step, over all processes."""
        return self.batch_size * self.accumulate * self.processes


@dataclass(frozen=True, kw_only=True)
class Fed:
    """One micro-batch, in the three stages of its making; batches: the same rows, once for each teacher."""

    batches: Sequence[Batch]
    noise: Noise
    work: MicroBatch


class Feeder:
    """Builds the micro-batches of a step from its number alone, one step ahead in a thread.

    Nothing is carried from step to step, so resuming at step s is starting at step s.
    """

    def __init__(
        self,
        data: PreparedData,
        joins: Sequence[Join],
        share: Share,
        module: Distillation,
        *,
        seed: int,
        last_step: int,
        noise_draws: int | None = None,
    ) -> None:
        self._data, self._joins, self._share, self._module, self._seed = data, joins, share, module, seed
        self._last_step, self._noise_draws = last_step, noise_draws
        self._plan = BatchPlan(len(data), share.effective_batch_size, seed)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tide-feeder")
        self._ahead: dict[int, Future[list[Fed]]] = {}

    def step(self, step: int) -> Sequence[Fed]:
        """Return this process's micro-batches of ``step`` and begin with those of the next."""
        future = self._ahead.pop(step, None)
        if step + 1 < self._last_step:
            self._ahead[step + 1] = self._thread.submit(self.build, step + 1)
        return future.result() if future is not None else self.build(step)

    def build(self, step: int) -> list[Fed]:
        """Build this process's micro-batches of ``step``."""
        lattice_draw = SampleDraws(seed=self._seed, epoch=0, samples=torch.tensor([step]))
        lattice = float(lattice_draw.uniform("lattice", 1))
        return [self._micro_batch(step, micro, lattice) for micro in range(self._share.accumulate)]

    def _micro_batch(self, step: int, micro: int, lattice: float) -> Fed:
        share = self._share
        plan = self._plan.micro_batch(
            step, process=share.process, processes=share.processes, micro=micro, accumulate=share.accumulate
        )
        batches = [
            join(
                self._data.rows(plan.indices, teacher),
                positions=plan.positions,
                effective_size=share.effective_batch_size,
            )
            for teacher, join in enumerate(self._joins)
        ]
        epochs = plan.epochs if self._noise_draws is None else plan.epochs % self._noise_draws
        draws = SampleDraws(seed=self._seed, epoch=torch.from_numpy(epochs), samples=batches[0].samples)
        noise, work = self._module.noise(batches, draws, lattice)
        return Fed(batches=batches, noise=noise, work=recall(self._module.method, work, batches, epochs.tolist()))

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(cancel_futures=True)
