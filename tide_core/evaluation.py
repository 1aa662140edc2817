"""Held-out data as evaluators see it, and the evaluation of a model in the middle of its training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

import torch
from torch import nn

from tide_core.blame import Describe, blame, describe
from tide_core.data import PreparedData
from tide_core.draws import SampleDraws
from tide_core.registry import Registry
from tide_specs import Architecture, Batch, Dataset, Denoiser, Evaluation, Evaluator, Example, Sampler, SharedColumns


@dataclass(kw_only=True)
class HeldOut:
    """Implements ``tide_specs.EvaluationContext`` over the evaluation split of a dataset.

    data: its rows, encoded and aligned; join: ``collate`` with the padding of both sides filled in; sampler: how the
    student writes.
    """

    dataset: Dataset
    data: PreparedData
    join: Callable[..., Batch]
    seed: int
    device: torch.device
    columns: SharedColumns | None = None
    teacher: int = 0
    sampler: Sampler | None = None
    _read: list[Example] = field(default_factory=list, init=False, repr=False)
    _complete: bool = field(default=False, init=False, repr=False)

    def examples(self, limit: int | None = None) -> Sequence[Example]:
        """Return the first ``limit`` held-out examples, in the dataset's order; read once."""
        if not self._complete and (limit is None or limit > len(self._read)):
            self._read = list(islice(self.dataset.examples("evaluation"), limit))
            self._complete = limit is None or len(self._read) < limit
        return self._read[:limit]

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield the first ``limit`` rows as batches on ``device``, in order; the last one may be smaller."""
        count = len(self.data) if limit is None else min(limit, len(self.data))
        for start in range(0, count, batch_size):
            places = range(start, min(start + batch_size, count))
            batch = self.join(self.data.rows(places, self.teacher), positions=list(places), effective_size=count)
            yield batch.to(self.device)

    def draws(self, batch: Batch) -> SampleDraws:
        """Return the random numbers of a batch; the same whatever model is evaluated and whenever."""
        return SampleDraws(seed=self.seed, epoch=0, samples=batch.samples, device=self.device)


def writing_sampler(architecture: Architecture, registry: Registry, given: Sampler | None = None) -> Sampler:
    """Return how a model writes: as ``given``, or as its architecture usually does."""
    return given or cast("Sampler", registry.build("sampler", architecture.usual_sampler))


def evaluate_all(
    evaluators: Sequence[Evaluator],
    student: Denoiser,
    teachers: Sequence[tuple[Denoiser | None, HeldOut]],
    describe: Describe = describe,
) -> dict[str, Evaluation]:
    """Run evaluators one after the other; name -> result. A name that occurs twice gets ``#2``, ``#3``, ...

    teachers: each with the held-out data as it pairs them; one entry without a teacher where there is none. An evaluator
    that looks at the teacher is asked once for each of several, and its name gets ``_teacher_1``, ``_teacher_2``, ...

    The models are in evaluation mode meanwhile, and then as they were. Tensors of the evaluation never join a later
    backward pass: ``no_grad``, since what ``inference_mode`` leaves behind (cached masks, say) could not.
    """
    results: dict[str, Evaluation] = {}
    modules = [model.module for model in (student, *(teacher for teacher, _ in teachers)) if model is not None]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for module in modules:
            stack.enter_context(evaluation_mode(module))
        for evaluator in evaluators:
            each = evaluator.uses_teacher and len(teachers) > 1
            for number, (teacher, context) in enumerate(teachers if each else teachers[:1], 1):
                with blame(evaluator, "while it evaluated the model", describe):
                    evaluation = evaluator.evaluate(student, teacher, context)
                name = f"{evaluator.name}_teacher_{number}" if each else str(evaluator.name)
                results[_free_name(name, results)] = evaluation
    return results


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put every part of a module into evaluation mode, and each back into the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _free_name(name: str, taken: dict[str, Evaluation]) -> str:
    number = 1
    while (free := name if number == 1 else f"{name}#{number}") in taken:
        number += 1
    return free
