"""Checks of evaluators, on tiny models and a few aligned examples."""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tide_specs.batch import Batch, Draws
from tide_specs.denoiser import Denoiser
from tide_specs.evaluator import Evaluation, Evaluator
from tide_specs.sampler import Sampler
from tide_specs.testing import texts
from tide_specs.testing.batches import draws_for, make_batch
from tide_specs.testing.outcome import CheckFailed, expect
from tide_specs.testing.toys import toy_denoiser
from tide_specs.text import Example, SharedColumns, TextTokenizer


@dataclass
class KitContext:
    """Implements ``tide_specs.EvaluationContext`` over a few examples, and counts what is taken."""

    student: TextTokenizer
    teacher: TextTokenizer | None
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    columns: SharedColumns | None = None
    sampler: Sampler | None = None
    count: int = 6
    multiple: int = 4

    def examples(self, limit: int | None = None) -> Sequence[Example]:
        """Return the examples."""
        made = [e for e in texts.examples() if any(m.content for m in e.messages if m.trainable)]
        return made[: min(self.count, limit or self.count)]

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield the examples as batches."""
        chosen = self.examples(limit)
        for start in range(0, len(chosen), max(1, batch_size)):
            part = chosen[start : start + max(1, batch_size)]
            yield make_batch(part, self.student, self.teacher, multiple=self.multiple, first_sample=start)

    def draws(self, batch: Batch) -> Draws:
        """Return the draws of a batch."""
        return draws_for(batch, self.seed)


@functools.cache
def models() -> tuple[Denoiser, Denoiser]:
    """Return a block-diffusion student over words and a bidirectional teacher over bytes."""
    return toy_denoiser("block_diffusion", words=True), toy_denoiser("bidirectional", seed=1)


def evaluate(evaluator: Evaluator, *, teacher: bool = True, **given: Any) -> Evaluation:
    """Evaluate the toys without gradients."""
    student, other = models()
    context = KitContext(student.tokenizer, other.tokenizer if teacher else None, **given)
    with torch.no_grad():
        return evaluator.evaluate(student, other if teacher else None, context)


def exercise(evaluator: Evaluator) -> None:
    """Evaluate once."""
    evaluate(evaluator)


def check_metrics(evaluator: Evaluator) -> None:
    """At least one metric; values are finite and lie within their intervals."""
    result: Any = evaluate(evaluator)
    expect(
        isinstance(result, Evaluation) and result.metrics,
        "evaluate() returns no metric; return an Evaluation with one.",
    )
    for name, estimate in result.metrics.items():
        expect(
            math.isfinite(estimate.value), f"metric '{name}' is {estimate.value}; leave out what cannot be computed."
        )
        low, high = estimate.low, estimate.high
        bare = low is None and high is None
        expect(
            bare or (low is not None and high is not None and low <= estimate.value <= high),
            f"the interval of '{name}' is [{low}, {high}] around {estimate.value:.4g}; it must hold the value, or be None twice.",
        )


def check_numbers_per_example(evaluator: Evaluator) -> None:
    """Each list of ``per_example`` has one number per evaluated example, so that runs can be compared in pairs."""
    result = evaluate(evaluator)
    sizes = {name: len(values) for name, values in result.per_example.items()}
    expect(
        len(set(sizes.values())) <= 1 and all(size <= 6 for size in sizes.values()),
        f"per_example has lists of lengths {sizes} for 6 examples; give each example one number, NaN where there is none.",
    )
    for name, rows in result.tables.items():
        cells = [cell for row in rows for cell in row.values()]
        expect(
            all(isinstance(cell, (str, int, float)) for cell in cells),
            f"table '{name}' holds something else than numbers and strings, which no tracker could store.",
        )


def check_limit(evaluator: Evaluator) -> None:
    """The option ``limit`` bounds the examples that are used."""
    limited = type(evaluator).model_validate({**evaluator.model_dump(), "limit": 2})
    asked: list[int | None] = []

    class Watched(KitContext):
        def examples(self, limit: int | None = None) -> Sequence[Example]:
            asked.append(limit)
            return super().examples(limit)

    student, other = models()
    with torch.no_grad():
        result = limited.evaluate(student, other, Watched(student.tokenizer, other.tokenizer))
    sizes = [len(values) for values in result.per_example.values()]
    expect(
        all(size <= 2 for size in sizes) and all(limit is not None and limit <= 2 for limit in asked),
        f"with limit=2 the evaluator takes more examples ({max(sizes, default=6)}); pass self.limit or None to the context.",
    )


def check_repeatable(evaluator: Evaluator) -> None:
    """The same seed gives the same numbers, whatever torch's global generator holds."""
    first = evaluate(evaluator)
    torch.rand(3)
    again = evaluate(evaluator)
    for name, estimate in first.metrics.items():
        expect(
            again.metrics[name].value == estimate.value or name.endswith(("_per_second", "seconds")),
            f"metric '{name}' is {estimate.value:.6g} and then {again.metrics[name].value:.6g}; take random numbers from "
            "context.draws() or seed them with context.seed.",
        )


def check_models_stay_unchanged(evaluator: Evaluator) -> None:
    """Weights, gradients and training mode of the models are left alone."""
    before = [[p.clone() for p in made.module.parameters()] for made in models()]
    try:
        evaluate(evaluator)
        for made, weights in zip(models(), before, strict=True):
            _check_unchanged(made, weights)
    finally:
        models.cache_clear()


def _check_unchanged(made: Denoiser, weights: list[torch.Tensor]) -> None:
    same = all(torch.equal(a, b) for a, b in zip(made.module.parameters(), weights, strict=True))
    expect(same, "evaluating changes the model's weights; training would go on from there.")
    expect(
        not made.module.training, "evaluating switches the model to training mode; models arrive in evaluation mode."
    )
    expect(all(p.grad is None for p in made.module.parameters()), "evaluating leaves gradients on the model.")


def check_teacher(evaluator: Evaluator) -> None:
    """``needs_teacher`` tells the truth: without that need, a run without a teacher is evaluated as well."""
    if evaluator.needs_teacher:
        evaluate(evaluator)
        return
    try:
        evaluate(evaluator, teacher=False)
    except Exception as error:
        raise CheckFailed(
            f"without a teacher it raises {type(error).__name__}: {error}; set needs_teacher = True, or do without."
        ) from error
