"""The training loop; it reads top to bottom. Shapes: K loss terms."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor

from tide_core.averaging import as_weights
from tide_core.checkpoints import gather_average, gather_training_state, write_checkpoint
from tide_core.feeder import Fed, Feeder
from tide_core.meter import Meter, term_names
from tide_core.observing import Observers
from tide_core.optimization import learning_rate
from tide_core.parallel import Engine
from tide_core.settings import Training
from tide_specs import CheckpointSaved, MetricsLogged, RunStatus, StepFinished, TrainingError

Evaluate = Callable[[int, bool], None]


@dataclass(kw_only=True)
class Loop:
    """Everything the loop touches.

    evaluate(step, last): run the evaluators that are due. save_student(path, tensors): write the student in its family's
    format; tensors: what ``gather_training_state`` returned.
    """

    engine: Engine
    feeder: Feeder
    training: Training
    observers: Observers
    directory: Path
    checkpoint_state: dict[str, Any]
    evaluate: Evaluate
    save_student: Callable[[str, Mapping[str, Tensor]], None]

    @property
    def accelerator(self) -> Accelerator:
        """The engine's Accelerate object."""
        return self.engine.accelerator

    @property
    def optimizer(self) -> Any:
        """The engine's optimizer."""
        return self.engine.optimizer

    def run(self, first_step: int) -> tuple[RunStatus, int]:
        """Train from ``first_step`` to the end, or until the user interrupts. Returns how it ended, and the steps done."""
        training = self.training
        meter = Meter(self._term_names(), self._sum, self.accelerator.num_processes)
        with _interruptible() as interrupted:
            for step in range(first_step, training.steps):
                self._begin(step)
                fed = self.feeder.step(step)
                counts = self._denominators(fed)
                terms, total = self._accumulate(fed, counts, step / training.steps)
                norm = self.engine.clip(training.max_gradient_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
                if self.engine.average is not None:
                    self.engine.average.update(step + 1)
                meter.add(terms, total, norm, *_token_counts(fed))
                done = step + 1
                self.observers.send(StepFinished(step=done, total_steps=training.steps))
                stopping = self._interrupted(interrupted, done)
                last = done == training.steps or stopping
                saving = last or _due(done, training.checkpoint_every)
                if saving or _due(done, training.log_every):
                    self._refuse_non_finite(meter, done)
                    self._log(meter, done)
                if saving:
                    self.save(done)
                if stopping:
                    return "interrupted", done
                self.evaluate(done, done == training.steps)
        if first_step >= training.steps:  # resumed after the last step: nothing is left but to evaluate
            self.evaluate(training.steps, True)
        return "finished", training.steps

    def _begin(self, step: int) -> None:
        """Set the learning rate, and seed dropout by step and process, so that a resumed run repeats it."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.training)
        torch.manual_seed((self.training.seed << 40) + (step << 8) + self.accelerator.process_index)

    def _accumulate(self, fed: Sequence[Fed], counts: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Forward and backward over the step's micro-batches; returns this process's terms [K] and total."""
        device, terms, total = self.accelerator.device, torch.zeros_like(counts), torch.zeros_like(counts[0])
        for number, part in enumerate(fed):
            with self.engine.synchronise(number == len(fed) - 1):
                loss, values = self.engine.wrapped(part.work.to(device), counts, progress)
                # Denominators already span all processes, and DDP averages gradients: undo the average.
                self.accelerator.backward(loss * self.accelerator.num_processes)
            terms, total = terms + values, total + loss.detach()
        return terms, total

    def _denominators(self, fed: Sequence[Fed]) -> Tensor:
        """[K] what each term is divided by: counted over every micro-batch of every process."""
        local = torch.stack([self.engine.module.counts(part.work) for part in fed]).sum(0)
        return self._sum(local.to(self.accelerator.device, non_blocking=True))

    def _sum(self, tensor: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return tensor
        return self.accelerator.reduce(tensor, "sum")  # type: ignore[return-value]

    def _interrupted(self, flag: list[bool], done: int) -> bool:
        """Whether to stop now. Several processes agree on it only when metrics are due, for asking synchronises."""
        if self.accelerator.num_processes == 1:
            return bool(flag)
        if not _due(done, self.training.log_every):
            return False
        return bool(self._sum(torch.tensor(float(bool(flag)), device=self.accelerator.device)))

    def _term_names(self) -> list[str]:
        return term_names(self.engine.module.method)

    def _log(self, meter: Meter, done: int) -> None:
        metrics = meter.read()
        metrics["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        self.observers.send(MetricsLogged(step=done, total_steps=self.training.steps, metrics=metrics))

    def save(self, done: int) -> None:
        """Write a checkpoint of the state after ``done`` steps."""
        tensors = gather_training_state(self.engine.module, inner(self.optimizer))
        with self.engine.averaged():
            averages = gather_average(self.engine.module, self.engine.average)
            if self.accelerator.is_main_process:
                path = write_checkpoint(
                    self.directory / "checkpoints",
                    done,
                    tensors={**tensors, **averages},
                    state=self.checkpoint_state,
                    save_student=lambda path: self.save_student(path, {**tensors, **as_weights(averages)}),
                    keep=self.training.keep_checkpoints,
                )
                self.observers.send(CheckpointSaved(step=done, path=str(path)))
        self.accelerator.wait_for_everyone()

    def _refuse_non_finite(self, meter: Meter, done: int) -> None:
        """Stop when a loss or a gradient of the interval was not finite, with the batch that caused it on disk."""
        interval = len(meter)
        offset = meter.first_bad_step()
        if offset is None:
            return
        step = done - interval + offset
        path = self._save_batch(step)
        raise TrainingError(
            f"step {step + 1}: the loss or its gradient is not finite. The batch was saved to {path}. "
            "Lower training.learning_rate, check the data of that batch, or resume from the last checkpoint with another "
            "objective; no checkpoint was written since."
        )

    def _save_batch(self, step: int) -> Path:
        """Build the batch of a past step again and write what this process saw of it."""
        folder = self.directory / "non_finite"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"step-{step + 1:06d}-process-{self.accelerator.process_index}.safetensors"
        tensors: dict[str, Tensor] = {}
        for number, part in enumerate(self.feeder.build(step)):
            prefix = f"micro_batch_{number}"
            tensors[f"{prefix}/samples"] = part.batches[0].samples
            tensors[f"{prefix}/student/ids"] = part.batches[0].student.ids
            tensors[f"{prefix}/student/noised"] = part.noise.student.noised
            tensors[f"{prefix}/student/masked"] = part.noise.student.masked
            tensors[f"{prefix}/t"] = part.noise.t
            for teacher, batch in enumerate(part.batches):
                if batch.teacher is not None:
                    tensors[f"{prefix}/{'teacher' if not teacher else f'teacher_{teacher + 1}'}/ids"] = (
                        batch.teacher.ids
                    )
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, str(path))
        return path


def _due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


def _token_counts(fed: Sequence[Fed]) -> tuple[int, int]:
    return sum(part.work.tokens for part in fed), sum(part.work.counts["masked_tokens"] for part in fed)


def inner(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimizer inside Accelerate's wrapper."""
    return getattr(optimizer, "optimizer", optimizer)


@contextlib.contextmanager
def _interruptible() -> Iterator[list[bool]]:
    """Yield a list that becomes non-empty on the first Ctrl-C or SIGTERM; a second Ctrl-C raises at once."""
    flag: list[bool] = []

    def remember(number: int, frame: object) -> None:
        if flag and number == signal.SIGINT:
            raise KeyboardInterrupt
        flag.append(True)

    try:
        previous = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: nobody can press Ctrl-C here
        yield flag
        return
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
