"""Evaluators: numbers about a trained model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from pydantic import Field, NonNegativeInt

from .batch import Batch, Draws
from .component import Component
from .denoiser import Denoiser
from .sampler import Sampler
from .text import Example, SharedColumns

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % confidence interval (``low`` and ``high``; ``None`` where none can be given)."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of an evaluator.

    metrics: name -> estimate. tables: name -> rows of a table, for artifacts. per_example: metric -> one number per
    evaluated example, in order, for paired comparisons between runs. better: which way the metrics lie that say how good
    the model is (a count or a duration does not), so that a student can be held against its teacher.
    """

    metrics: Mapping[str, Estimate]
    tables: Mapping[str, Sequence[Mapping[str, float | str]]] = field(default_factory=lambda: {})
    per_example: Mapping[str, Sequence[float]] = field(default_factory=lambda: {})
    better: Mapping[str, Literal["higher", "lower"]] = field(default_factory=lambda: {})


class EvaluationContext(Protocol):
    """What an evaluator may use, all of it held out from training."""

    seed: int
    device: torch.device
    columns: SharedColumns | None
    """Shared vocabulary columns, when the run's alignment yields ``tokens``."""
    sampler: Sampler | None
    """How the student writes: the run's sampler, or else its architecture's usual one."""

    def examples(self, limit: int | None = None) -> Sequence[Example]:
        """Return held-out examples, always the same ones in the same order."""
        ...

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield held-out examples as aligned batches, on ``device``."""
        ...

    def draws(self, batch: Batch) -> Draws:
        """Return random numbers for a batch; the same for every model that is evaluated with this seed."""
        ...


class Evaluator(Component):
    """Kind ``evaluator``. Models arrive in evaluation mode; gradients are off."""

    kind: ClassVar[str] = "evaluator"
    needs_teacher: ClassVar[bool] = False
    needs_mask_token: ClassVar[bool] = False
    """Whether it hides tokens behind the mask token of a model that denoises; a model without one cannot be evaluated."""

    every: NonNegativeInt = Field(default=0, description="evaluate every so many steps; 0: only at the end")
    limit: NonNegativeInt = Field(default=0, description="use at most so many held-out examples; 0: all")
    batch_size: NonNegativeInt = Field(default=8, description="rows of an evaluation batch")

    @property
    def uses_teacher(self) -> bool:
        """Whether ``evaluate`` looks at the teacher with these options; where none does, it is not loaded to evaluate."""
        return self.needs_teacher

    @abstractmethod
    def evaluate(self, student: Denoiser, teacher: Denoiser | None, context: EvaluationContext) -> Evaluation:
        """Evaluate the student (and compare it with the teacher)."""
        raise NotImplementedError
