"""What the runs' evaluators found, and how that differs from what they found of the baseline on the same documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tide_core.matrix.recording import measured
from tide_core.matrix_report.options import KNOWN
from tide_core.matrix_report.resampling import interval, weighted
from tide_core.matrix_report.wording import between_text, difference_text
from tide_specs import ConfigError, Estimate

from .documents import same_rows
from .lines import Cell, Line, estimated
from .runs import FoundRun
from .traits import identity, teachers_of

Numbers = NDArray[np.float64]
REPLICATES = 2000
GAP = 0.001
"""Relative distance between a metric and the mean of its documents that deserves a word."""
UNSAID = ("every", "batch_size")
"""Options of an evaluator that change no number."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What the evaluators of one run found after its last step. All names are ``evaluator/metric``."""

    run: FoundRun

    @cached_property
    def _found(self) -> Mapping[str, Any]:
        return measured(self.run.last.events, self.run.last.step)

    @cached_property
    def metrics(self) -> dict[str, Estimate]:
        """Those that say something of the model: better one way, or known for each document with an interval."""
        found = {name: _estimate(one) for name, one in self._found["metrics"].items()}
        return {name: one for name, one in found.items() if isfinite(one.value) and self._tells(name, one)}

    def _tells(self, name: str, estimate: Estimate) -> bool:
        return name in self._found["better"] or (name in self._found["per_example"] and estimate.low is not None)

    @property
    def evaluators(self) -> list[str]:
        """Those that ran."""
        return list(dict.fromkeys(name.split("/")[0] for name in self._found["metrics"]))

    @property
    def better(self) -> Mapping[str, str]:
        """Which way metrics are better, as their evaluators say."""
        return self._found["better"]

    def examples(self, name: str) -> Numbers | None:
        """Return one number per document; ``None`` where there are none."""
        found = self._found["per_example"].get(name)
        return None if found is None else np.asarray([float(value) for value in found], np.float64)

    def options(self, evaluator: str) -> str:
        """Return the options with which an evaluator ran, as far as they change numbers."""
        base = re.sub(r"(_teacher_\d+)?(#\d+)?$", "", evaluator)
        own = [one for one in self.run.config.evaluation if one.name == base]
        return json.dumps([one.model_dump(mode="json", exclude=set(UNSAID)) for one in own], sort_keys=True)


@dataclass(kw_only=True)
class Findings:
    """Lines of the table, and what is to be said of them."""

    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare_scores(runs: Sequence[FoundRun], *, required: bool = True) -> Findings:
    """Return a line for each metric that two runs or more have, with differences from the first run.

    Raises ``ConfigError`` when there is none, unless something else is compared.
    """
    scores = {run.label: Scores(run=run) for run in runs}
    holders = {name: [label for label in scores if name in scores[label].metrics] for name in _names(scores)}
    shared = [name for name, labels in holders.items() if len(labels) > 1]
    if not shared and required:
        raise ConfigError(_nothing_in_common(scores))
    found = Findings(notes=list(_lacking(scores, holders)))
    for name in shared:
        _add(found, name, [scores[label] for label in holders[name]], scores[runs[0].label])
    if any(cell.difference_low is not None for one in found.lines for cell in one.cells.values()):
        found.notes.append(
            "Intervals of differences are over documents, given these very runs: they say nothing of another seed; "
            "tide matrix repeats runs over seeds."
        )
    return found


def _names(scores: Mapping[str, Scores]) -> list[str]:
    return list(dict.fromkeys(name for one in scores.values() for name in one.metrics))


def _nothing_in_common(scores: Mapping[str, Scores]) -> str:
    told = "; ".join(f"{label}: {', '.join(one.evaluators) or 'none'}" for label, one in scores.items())
    return (
        f"no two of these runs were evaluated in the same way ({told}); give their run files the same evaluators and run "
        "them again (a finished run only evaluates), or compare samples with --steps and --judge"
    )


def _lacking(scores: Mapping[str, Scores], holders: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Name what some of the runs have and others lack: a whole evaluator once, not each of its metrics."""
    evaluators = dict.fromkeys(name for one in scores.values() for name in one.evaluators)
    for evaluator in evaluators:
        without = [label for label, one in scores.items() if evaluator not in one.evaluators]
        if without:
            yield f"{evaluator}: {', '.join(without)} {'was' if len(without) == 1 else 'were'} not evaluated by it."
    for name, labels in holders.items():
        evaluator = name.split("/")[0]
        without = [label for label, one in scores.items() if evaluator in one.evaluators and label not in labels]
        if without:
            yield f"{name}: {', '.join(without)} {'has' if len(without) == 1 else 'have'} no such number, or none that is finite."


def _add(found: Findings, name: str, holders: Sequence[Scores], base: Scores) -> None:
    evaluator, metric = name.split("/", 1)
    directions = {one.better[name] for one in holders if name in one.better}
    better = directions.pop() if len(directions) == 1 else _known(metric)
    cells: dict[str, Cell] = {}
    for scores in holders:
        cells[scores.run.label] = cell = estimated(scores.metrics[name])
        if scores is base or name not in base.metrics:  # that the baseline lacks it is said once, of the evaluator
            continue
        reason = _why_not(name, scores, base, better)
        if reason:
            found.notes.append(f"{name}: {scores.run.label} is not compared with {base.run.label}: {reason}.")
        else:
            cells[scores.run.label] = _beside(cell, name, scores, base, found)
    found.lines.append(Line(group=evaluator, label=metric, cells=cells, better=better))


def _known(metric: str) -> str:
    return next((direction for pattern, direction in KNOWN if re.fullmatch(pattern, metric)), "")


def _why_not(name: str, scores: Scores, base: Scores, better: str) -> str:
    """Return why a difference would mean nothing; empty where it means something."""
    evaluator = name.split("/")[0]
    if scores.options(evaluator) != base.options(evaluator):
        return "the evaluator ran with other options"
    if not better and _looks_at_teacher(scores, evaluator) and _teachers(scores.run) != _teachers(base.run):
        return "it is a distance to the teacher of the run, and theirs are not the same"
    return ""


def _looks_at_teacher(scores: Scores, evaluator: str) -> bool:
    return any(one.uses_teacher for one in scores.run.config.evaluation if evaluator.startswith(str(one.name)))


def _teachers(run: FoundRun) -> list[str]:
    return [identity(one) for one in teachers_of(run.last)]


def _beside(cell: Cell, name: str, scores: Scores, base: Scores, found: Findings) -> Cell:
    """Add the difference from the baseline: with an interval over documents where the numbers can be paired."""
    ours, theirs = scores.examples(name), base.examples(name)
    plain = scores.metrics[name].value - base.metrics[name].value
    reason = _unpaired(name, ours, theirs, scores, base)
    if ours is None or theirs is None or reason:
        found.notes.append(f"{name}: no interval for {scores.run.label} against {base.run.label}: {reason}.")
        return replace(cell, difference=plain)
    weights = (
        scores.examples(weighing) if (weighing := re.sub(r"(?<![a-z_])bits_per_byte$", "bytes", name)) != name else None
    )
    kept = (
        np.isfinite(ours)
        & np.isfinite(theirs)
        & (np.isfinite(weights) & (weights > 0) if weights is not None else True)
    )
    differences = (ours - theirs)[kept][None, :]
    if weights is not None:
        differences = weighted(differences, weights[kept])
    paired = interval(differences, documents=True, replicates=REPLICATES, seed=0)
    label = scores.run.label
    if kept.sum() < len(kept):
        found.notes.append(
            f"{name}: {int((~kept).sum())} of {len(kept)} documents are left out for {label}: no number."
        )
    if abs(paired.value - plain) > GAP * max(abs(base.metrics[name].value), 1e-12):
        found.notes.append(
            f"{name}: the difference of {label} is a mean over documents; the metric itself weighs them otherwise."
        )
    text = f"{cell.text}; {difference_text(paired)} ({between_text(paired)})"
    return replace(
        cell, text=text, difference=paired.value, difference_low=paired.low, difference_high=paired.high, p=paired.p
    )


def _unpaired(name: str, ours: Numbers | None, theirs: Numbers | None, scores: Scores, base: Scores) -> str:
    """Return why the numbers of two runs' documents cannot be paired; empty where they can."""
    if ours is None or theirs is None:
        return "the evaluator gives no number for each document"
    if len(ours) != len(theirs):
        return f"{len(ours)} numbers against {len(theirs)}"
    if (np.isfinite(ours) & np.isfinite(theirs)).sum() < 2:
        return "fewer than two documents have a number in both"
    if same_rows(scores.run, base.run):
        return ""
    # Other tokenizers may drop other rows: the numbers belong to the same documents where sizes say so, or none was dropped.
    evaluator = name.split("/")[0]
    sizes = [one.examples(f"{evaluator}/bytes") for one in (scores, base)]
    if sizes[0] is not None and sizes[1] is not None:
        return "" if np.array_equal(*sizes) else "the documents have other sizes"  # type: ignore[arg-type]
    if _looks_at_rows(scores, evaluator):
        return "two tokenizers may leave out other rows, so that nobody knows which numbers belong together"
    return ""


def _looks_at_rows(scores: Scores, evaluator: str) -> bool:
    """Whether numbers belong to encoded rows, as those of an evaluator do that needs the teacher's side of them."""
    return any(one.needs_teacher for one in scores.run.config.evaluation if evaluator.startswith(str(one.name)))


def _estimate(record: Mapping[str, Any]) -> Estimate:
    """JSON has no number for what is not finite: a log holds ``"NaN"`` and ``"Infinity"``."""
    low, high = (None if record[name] is None else float(record[name]) for name in ("low", "high"))
    return Estimate(value=float(record["value"]), low=low, high=high)
