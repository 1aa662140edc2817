"""What a user may say of a report: which axis is which, what is compared with what, and which way is better."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tide_specs import ConfigError

from ..matrix.results import CellResult
from ..registry import did_you_mean

Direction = Literal["lower", "higher"]

OBJECTIVE_AXES = ("objective", "objectives", "losses", "loss", "method")
TEACHER_AXES = ("teacher",)
STUDENT_AXES = ("student",)
SEED_AXES = ("seed", "training.seed", "seeds")
"""Names by which an axis is recognised where the user says nothing."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Options of a report; an empty axis name stands for the usual one.

    baseline: label of the objective without distillation; empty: the one label whose runs never asked a teacher.
    teacher_axes: the axes that a run without a teacher does not depend on; the first gives the rows of heat maps.
    metrics: ``evaluator/metric`` to compare; empty: all whose better direction is known. better: metric -> direction.
    weights: metric -> the metric whose numbers per document weigh the documents.
    """

    objective_axis: str = ""
    baseline: str = ""
    teacher_axes: Sequence[str] = ()
    student_axis: str = ""
    seed_axis: str = ""
    metrics: Sequence[str] = ()
    better: Mapping[str, Direction] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    level: float = 0.05
    replicates: int = 2000
    seed: int = 0
    title: str = "Matrix report"


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The axes of a matrix by what they stand for; ``seed`` and ``student`` are empty where there is no such axis."""

    objective: str
    seed: str
    student: str
    teachers: tuple[str, ...]
    every: tuple[str, ...]

    @property
    def setting(self) -> tuple[str, ...]:
        """The axes that tell settings apart: all but objective and seed."""
        return tuple(axis for axis in self.every if axis not in (self.objective, self.seed))


def read_axes(results: Sequence[CellResult], options: ReportOptions) -> Axes:
    """Return which axis is which. Raises ``ConfigError`` for a name that is no axis, or when no axis holds objectives."""
    every = tuple(dict.fromkeys(axis for result in results for axis in result.labels))
    odd = next((result for result in results if set(result.labels) != set(every)), None)
    if odd is not None:
        missing = ", ".join(sorted(set(every) - set(odd.labels)))
        raise ConfigError(f"cell '{odd.cell}': has no label on axis {missing}; every cell needs one on every axis")
    objective = _axis("objective_axis", options.objective_axis, OBJECTIVE_AXES, every)
    if not objective:
        raise ConfigError(
            f"objective_axis: none of the axes ({', '.join(every)}) is called {' or '.join(OBJECTIVE_AXES[:3])}; "
            "name the one whose labels are to be compared"
        )
    teachers = tuple(_axis("teacher_axes", name, (), every) for name in options.teacher_axes)
    return Axes(
        objective=objective,
        seed=_axis("seed_axis", options.seed_axis, SEED_AXES, every),
        student=_axis("student_axis", options.student_axis, STUDENT_AXES, every),
        teachers=teachers or tuple(axis for axis in TEACHER_AXES if axis in every),
        every=every,
    )


def _axis(option: str, given: str, usual: Sequence[str], every: Sequence[str]) -> str:
    if given and given not in every:
        raise ConfigError(
            f"{option} '{given}': the matrix has no such axis{did_you_mean(given, list(every))}; "
            f"it has {', '.join(every)}"
        )
    return given or next((axis for axis in usual if axis in every), "")


def read_baseline(results: Sequence[CellResult], axes: Axes, given: str) -> str:
    """Return the label of the objective without distillation.

    Raises ``ConfigError`` when there is no such label, or when it is not given and not exactly one can be told from
    runs that never asked a teacher.
    """
    labels = list(dict.fromkeys(result.labels[axes.objective] for result in results))
    if given:
        if given not in labels:
            raise ConfigError(
                f"baseline '{given}': axis '{axes.objective}' has no such label{did_you_mean(given, labels)}; "
                f"it has {', '.join(labels)}"
            )
        return given
    known = {result.labels[axes.objective]: set[int]() for result in results}
    for result in results:
        if result.teacher_forwards is not None:
            known[result.labels[axes.objective]].add(result.teacher_forwards)
    alone = [label for label, passes in known.items() if passes == {0}]
    if len(alone) == 1:
        return alone[0]
    why = "several objectives ask no teacher" if alone else "no objective is known to ask no teacher"
    raise ConfigError(
        f"baseline: {why}; say which label of axis '{axes.objective}' stands for no distillation: "
        f"{', '.join(alone or labels)}"
    )


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What is compared, with its direction, and what is not because nobody said which way is better."""

    better: Mapping[str, Direction]
    undirected: tuple[str, ...]


def read_metrics(results: Sequence[CellResult], options: ReportOptions) -> Metrics:
    """Return the metrics to compare.

    Raises ``ConfigError`` for a metric that no cell has, when a chosen metric has no direction, when cells contradict
    each other, and when none is left.
    """
    found = list(dict.fromkeys(name for result in results for name in result.metrics))
    for option, names in (("metrics", options.metrics), ("better", options.better), ("weights", options.weights)):
        _require_known(option, names, found)
    directions: dict[str, Direction] = {**_recorded(results), **options.better}
    for name, direction in directions.items():
        if direction not in ("lower", "higher"):
            raise ConfigError(f"better: '{name}' is '{direction}'; say lower or higher")
    unsaid = [name for name in options.metrics if name not in directions]
    if unsaid:
        raise ConfigError(
            f"better: whether {unsaid[0]} is better lower or higher is not known; say {unsaid[0]}=lower, or higher"
        )
    chosen = options.metrics or [name for name in found if name in directions]
    if not chosen:
        raise ConfigError(
            f"better: of no metric ({', '.join(found) or 'there are none'}) is known which way is better; "
            "say METRIC=lower, or higher"
        )
    return Metrics(
        better={name: directions[name] for name in chosen},
        undirected=tuple(name for name in found if name not in directions),
    )


def _require_known(option: str, names: Sequence[str] | Mapping[str, object], found: list[str]) -> None:
    for name in names:
        if name not in found:
            raise ConfigError(
                f"{option}: no cell has the metric '{name}'{did_you_mean(name, found)}; "
                f"there are {', '.join(found) or 'none'}"
            )


KNOWN: tuple[tuple[str, Direction], ...] = (
    (r"(.*/)?bits_per_byte", "lower"),
    (r"(.*/)?accuracy", "higher"),
    (r"(.*/)?perplexity", "lower"),
)
"""Names that mean the same everywhere, for evaluators that do not say."""


def _recorded(results: Sequence[CellResult]) -> dict[str, Direction]:
    directions: dict[str, Direction] = {}
    for result in results:
        for name, direction in result.better.items():
            if directions.setdefault(name, direction) != direction:
                raise ConfigError(
                    f"cell '{result.cell}': says that {name} is better {direction}, others say "
                    f"{directions[name]}; run them with the same version of the evaluator"
                )
    for name in dict.fromkeys(name for result in results for name in result.metrics):
        for pattern, direction in KNOWN:
            if re.fullmatch(pattern, name):
                directions.setdefault(name, direction)
    return directions
