"""One metric of the cells of a matrix: its numbers where there are any, and the reason where there are none."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tide_specs import ConfigError

from ..matrix.results import CellResult
from .options import Axes, ReportOptions

Vector = NDArray[np.float64]
Setting = tuple[tuple[str, str], ...]
"""Axis and label, for each axis but objective and seed."""

NO_SEED = "one"
"""Label of the seed in a matrix without an axis of seeds."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one cell says of one metric. examples: [n], NaN where the evaluator left a document out; ``None``: not known.

    weights: [n], how much each document counts; ``None``: all the same.
    """

    cell: str
    value: float
    examples: Vector | None
    weights: Vector | None


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A cell that says nothing of a metric, and why. impossible: its components do not work together."""

    cell: str
    labels: Mapping[str, str]
    reason: str
    impossible: bool = False


@dataclass(kw_only=True)
class Readings:
    """One metric of all cells: (objective, setting, seed) -> its reading, or why there is none.

    weights: name of the numbers that weigh documents, empty: none. gap: largest relative distance between a cell's
    metric and the mean of its documents.
    """

    metric: str
    weights: str = ""
    found: dict[tuple[str, Setting, str], Reading | Missing] = field(default_factory=dict)
    gap: float = 0.0

    @property
    def missing(self) -> list[Missing]:
        """Cells that are finished and yet say nothing of the metric."""
        return [
            one for one in self.found.values() if isinstance(one, Missing) and not one.reason.startswith(UNFINISHED)
        ]


UNFINISHED = ("impossible", "failed", "pending")


def setting_of(labels: Mapping[str, str], axes: Axes) -> Setting:
    """Return the setting of a cell."""
    return tuple((axis, labels[axis]) for axis in axes.setting)


def read(results: Sequence[CellResult], axes: Axes, metric: str, options: ReportOptions) -> Readings:
    """Return a metric of all cells.

    Raises ``ConfigError`` naming a cell that was evaluated on other documents than those it is compared with.
    """
    readings = Readings(metric=metric, weights=_weights(results, metric, options))
    for result in results:
        seed = result.labels.get(axes.seed, NO_SEED)
        key = (result.labels[axes.objective], setting_of(result.labels, axes), seed)
        if key in readings.found:
            raise ConfigError(f"cell '{result.cell}': has the labels of another cell; labels must tell cells apart")
        readings.found[key] = _reading(result, metric, readings.weights)
    _require_same_documents(readings, axes)
    readings.gap = max((_gap(one) for one in readings.found.values() if isinstance(one, Reading)), default=0.0)
    return readings


def _weights(results: Sequence[CellResult], metric: str, options: ReportOptions) -> str:
    if metric in options.weights:
        return options.weights[metric]
    usual = re.sub(r"bits_per_byte$", "bytes", metric)
    holders = [result for result in results if metric in result.per_example]
    return usual if usual != metric and holders and all(usual in one.per_example for one in holders) else ""


def _reading(result: CellResult, metric: str, weights: str) -> Reading | Missing:
    reason = _why_not(result, metric, weights)
    if reason:
        impossible = result.status == "impossible"
        return Missing(cell=result.cell, labels=result.labels, reason=reason, impossible=impossible)
    listed = result.per_example.get(metric)
    weighing = result.per_example.get(weights) if listed is not None and weights else None
    return Reading(
        cell=result.cell,
        value=result.metrics[metric].value,
        examples=None if listed is None else np.asarray(listed, dtype=np.float64),
        weights=None if weighing is None else np.asarray(weighing, dtype=np.float64),
    )


def _why_not(result: CellResult, metric: str, weights: str) -> str:
    if result.status != "finished":
        return f"{result.status}: {first_line(result.reason)}" if result.reason else result.status
    if metric not in result.metrics:
        return f"finished, but its evaluators did not measure {metric}"
    if not math.isfinite(result.metrics[metric].value):
        return f"{metric} is {result.metrics[metric].value}"
    listed = np.asarray(result.per_example.get(metric, []), dtype=np.float64)
    if np.isinf(listed).any():
        return f"{metric} is infinite for {int(np.isinf(listed).sum())} of {len(listed)} documents"
    if len(listed) and np.isnan(listed).all():
        return f"{metric} is known for no document"
    weighing = np.asarray(result.per_example.get(weights, []), dtype=np.float64)
    if len(weighing) and len(listed) and (len(weighing) != len(listed) or not (weighing[~np.isnan(listed)] >= 0).all()):
        return f"{weights} cannot weigh its documents: it must hold a number from 0 up for each of them"
    return ""


def first_line(text: str) -> str:
    """Return a reason without what stands below it."""
    return text.splitlines()[0] if text else ""


def _gap(reading: Reading) -> float:
    if reading.examples is None:
        return 0.0
    kept = ~np.isnan(reading.examples)
    mean = float(np.average(reading.examples[kept], weights=None if reading.weights is None else reading.weights[kept]))
    return abs(mean - reading.value) / max(abs(reading.value), 1e-12)


def _require_same_documents(readings: Readings, axes: Axes) -> None:
    groups: dict[Setting, list[Reading]] = {}
    for (_, setting, _), one in readings.found.items():
        if isinstance(one, Reading) and one.examples is not None:
            groups.setdefault(without(setting, axes.teachers), []).append(one)
    for group in groups.values():
        _require_same_count(readings.metric, group)
        _require_same_weights(readings.weights, group)


def _require_same_count(metric: str, group: Sequence[Reading]) -> None:
    counts = {one.cell: 0 if one.examples is None else len(one.examples) for one in group}
    usual, _ = max(Counter(counts.values()).items(), key=lambda item: (item[1], item[0]))
    odd = {cell: count for cell, count in counts.items() if count != usual}
    if odd:
        listed = ", ".join(f"'{cell}' ({count})" for cell, count in sorted(odd.items()))
        raise ConfigError(
            f"{metric}: cells {listed} were evaluated on another number of documents than the {usual} of "
            f"'{min(cell for cell, count in counts.items() if count == usual)}', so that they cannot be paired; "
            "run them again on the same data, or leave them out"
        )


def _require_same_weights(weights: str, group: Sequence[Reading]) -> None:
    weighing = [(one.cell, one.weights) for one in group if one.weights is not None]
    for cell, values in weighing[1:]:
        if not np.array_equal(values, weighing[0][1], equal_nan=True):
            raise ConfigError(
                f"{weights}: cells '{weighing[0][0]}' and '{cell}' disagree about the documents, so that they were "
                "evaluated on other ones and cannot be paired; run them again on the same data, or leave one out"
            )


def without(setting: Setting, axes: Sequence[str]) -> Setting:
    """Return a setting without some of its axes."""
    return tuple((axis, label) for axis, label in setting if axis not in axes)


def natural(label: str) -> tuple[tuple[int, float, str], ...]:
    """Return a key that sorts labels with numbers as a reader would: seed 2 before seed 10."""
    parts = re.split(r"(\d+)", label)
    return tuple((0, float(part), "") if part.isdecimal() else (1, 0.0, part) for part in parts)
