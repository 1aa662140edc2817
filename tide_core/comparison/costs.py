"""What it took to train each student: summed over the runs that it is the work of. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from tide_core.matrix.forwards import forwards
from tide_core.matrix.recording import seconds_of_parts

from .lines import Equality, Line, counted, line, same
from .runs import CHECKPOINTS, STATE, FoundRun, Part

GROUP = "what it took"


@dataclass(frozen=True, kw_only=True)
class Costs:
    """seconds: from the start of a run to the last entry of its log, evaluation included; pauses between resumed parts are not.

    steps: of the optimizer. texts: rows that the student learned from, over all processes. student_forwards,
    teacher_forwards: passes over micro-batches in one process. teacher_texts: rows that teachers read, over all processes;
    each pass and sub-step counts.
    """

    seconds: float = 0.0
    steps: int = 0
    texts: int = 0
    student_forwards: int = 0
    teacher_forwards: int = 0
    teacher_texts: int = 0

    def __add__(self, other: Costs) -> Costs:
        """Add up what two runs took."""
        return Costs(**{name: value + getattr(other, name) for name, value in vars(self).items()})


NAMES = {
    "seconds": "seconds, evaluation included",
    "steps": "optimizer steps",
    "texts": "rows the student learned from",
    "student_forwards": "student forwards",
    "teacher_forwards": "teacher forwards",
    "teacher_texts": "rows the teacher read",
}
HELD = ("steps", "texts", "student_forwards", "teacher_forwards", "teacher_texts")
"""What a fair comparison may hold equal; seconds never are."""


def costs_of(run: FoundRun) -> Costs:
    """Return what all runs behind a student took together."""
    return sum((_of_part(part) for part in run.parts), Costs())


def _of_part(part: Part) -> Costs:
    training = part.config.training.model_copy(update={"steps": part.step})
    teacher, student = forwards(part.config.model_copy(update={"training": training}))
    rows = part.step * _effective_batch(part)
    return Costs(
        seconds=seconds_of_parts(part.events, inf),
        steps=part.step,
        texts=rows,
        student_forwards=student,
        teacher_forwards=teacher,
        teacher_texts=rows * teacher // student if student else 0,
    )


def _effective_batch(part: Part) -> int:
    """Rows of an optimizer step over all processes, as a checkpoint has it; else as one process would."""
    for path in sorted((part.directory / CHECKPOINTS).glob(f"*/{STATE}"), reverse=True):
        found = _recorded(path)
        if found is not None:
            return found
    return part.config.training.batch_size * part.config.training.accumulate


def _recorded(path: Path) -> int | None:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["effective_batch_size"])
    except (OSError, ValueError, KeyError):
        return None


def cost_lines(runs: Sequence[FoundRun]) -> list[Line]:
    """Return a line for each kind of cost."""
    costs = {run.label: costs_of(run) for run in runs}
    return [
        line(GROUP, name, {label: counted(getattr(cost, field)) for label, cost in costs.items()})
        for field, name in NAMES.items()
    ]


def equal_costs(runs: Sequence[FoundRun]) -> list[Equality]:
    """Return whether the runs took the same."""
    costs = {run.label: costs_of(run) for run in runs}
    return [same(NAMES[field], {label: f"{getattr(cost, field):,}" for label, cost in costs.items()}) for field in HELD]
