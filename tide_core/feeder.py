"""What each optimizer step trains on: the same samples and the same noise, however many processes share the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from tide_core.data import BatchPlan, PreparedData, collate
from tide_core.distillation import Distillation
from tide_core.draws import SampleDraws
from tide_core.micro_batch import MicroBatch
from tide_specs import Batch, Denoiser, Noise

Join = Callable[..., Batch]
"""``collate`` with the padding of both sides filled in; see ``joiner``."""


def joiner(student: Denoiser, teacher: Denoiser | None) -> Join:
    """Return ``collate`` for these two models: their padding ids and the multiples that their rows must have."""
    return partial(
        collate,
        student_pad=student.tokenizer.pad_token_id,
        teacher_pad=teacher.tokenizer.pad_token_id if teacher else 0,
        length_multiple=student.block_size or 1,
        teacher_length_multiple=(teacher.block_size or 1) if teacher else 1,
    )


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
    """One micro-batch, in the three stages of its making."""

    batch: Batch
    noise: Noise
    work: MicroBatch


class Feeder:
    """Builds the micro-batches of a step from its number alone, one step ahead in a thread.

    Nothing is carried from step to step, so resuming at step s is starting at step s.
    """

    def __init__(
        self, data: PreparedData, join: Join, share: Share, module: Distillation, *, seed: int, last_step: int
    ) -> None:
        self._data, self._join, self._share, self._module, self._seed = data, join, share, module, seed
        self._last_step = last_step
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
        batch = self._join(
            self._data.rows(plan.indices), positions=plan.positions, effective_size=share.effective_batch_size
        )
        draws = SampleDraws(seed=self._seed, epoch=torch.from_numpy(plan.epochs), samples=batch.samples)
        noise, work = self._module.noise(batch, draws, lattice)
        return Fed(batch=batch, noise=noise, work=work)

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(cancel_futures=True)
