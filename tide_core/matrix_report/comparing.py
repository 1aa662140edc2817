"""What an objective changed in each setting: paired differences from the same runs without distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .holm import holm
from .options import Axes, Direction, ReportOptions
from .readings import Missing, Reading, Readings, Setting, natural, without
from .resampling import Interval, Matrix, interval, weighted

Outcome = Literal["better", "worse", "unclear", "few seeds", "missing", "impossible"]


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """A run that could not be paired: its seed, the cell that is to blame, and why; whether no such run can be."""

    seed: str
    cell: str
    reason: str
    impossible: bool = False


@dataclass(frozen=True, kw_only=True)
class Effect:
    """An objective's metric minus the baseline's, in one setting.

    seeds: those with both runs; documents: those with a number in all of them, 0 where the metric has none per document;
    left_out: documents without. value, baseline: means over seeds of the metric itself. cells, baselines: the runs
    compared, by seed; borrowed: some baseline ran with another teacher in its file. adjusted: Holm's p. lacking: runs
    that could not be paired.
    """

    metric: str
    better: Direction
    objective: str
    setting: Setting
    seeds: tuple[str, ...] = ()
    documents: int = 0
    left_out: int = 0
    interval: Interval | None = None
    value: float | None = None
    baseline: float | None = None
    adjusted: float | None = None
    level: float = 0.05
    cells: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    borrowed: bool = False
    lacking: tuple[Lacking, ...] = ()

    @property
    def gain(self) -> float:
        """The difference, positive where the objective is better."""
        if self.interval is None:
            return 0.0
        return self.interval.value if self.better == "higher" else -self.interval.value

    @property
    def significant(self) -> bool:
        """Whether Holm's p is small enough."""
        return self.adjusted is not None and self.adjusted <= self.level

    @property
    def outcome(self) -> Outcome:
        """What may be said of it: too few seeds support no statement about training, however sure of the documents."""
        if self.interval is None:
            return "impossible" if all(one.impossible for one in self.lacking) else "missing"
        if self.interval.over in ("documents only", "nothing"):
            return "few seeds"
        if not self.significant:
            return "unclear"
        return "better" if self.gain > 0 else "worse"


@dataclass(frozen=True, kw_only=True)
class _Pair:
    seed: str
    run: Reading
    base: Reading
    borrowed: bool


def effects(readings: Readings, axes: Axes, baseline: str, better: Direction, options: ReportOptions) -> list[Effect]:
    """Return the effect of every objective in every setting that the matrix has, corrected for their number."""
    places = dict.fromkeys((objective, setting) for objective, setting, _ in readings.found if objective != baseline)
    seeds = sorted({seed for *_, seed in readings.found}, key=natural)
    found = [_effect(readings, axes, baseline, better, options, place, seeds) for place in places]
    order = list(dict.fromkeys(objective for objective, _ in places))
    return _corrected(sorted(found, key=lambda one: order.index(one.objective)))


def _corrected(found: Sequence[Effect]) -> list[Effect]:
    known = [one.interval.p for one in found if one.interval is not None and one.interval.p is not None]
    adjusted = iter(holm(known))
    return [
        replace(one, adjusted=next(adjusted)) if one.interval is not None and one.interval.p is not None else one
        for one in found
    ]


def _effect(
    readings: Readings,
    axes: Axes,
    baseline: str,
    better: Direction,
    options: ReportOptions,
    place: tuple[str, Setting],
    seeds: Sequence[str],
) -> Effect:
    objective, setting = place
    pairs: list[_Pair] = []
    lacking: list[Lacking] = []
    for seed in seeds:
        found = _pair(readings, axes, baseline, (objective, setting, seed))
        if isinstance(found, _Pair):
            pairs.append(found)
        elif found is not None:
            lacking.append(found)
    known = Effect(
        metric=readings.metric,
        better=better,
        objective=objective,
        setting=setting,
        level=options.level,
        lacking=tuple(lacking),
    )
    return _measured(known, pairs, options) if pairs else known


def _pair(readings: Readings, axes: Axes, baseline: str, key: tuple[str, Setting, str]) -> _Pair | Lacking | None:
    """Return a run and its baseline, or why there is none; ``None`` where the matrix has no such cell."""
    _, setting, seed = key
    run = readings.found.get(key)
    if run is None:
        return None
    if isinstance(run, Missing):
        return Lacking(seed=seed, cell=run.cell, reason=run.reason, impossible=run.impossible)
    own = readings.found.get((baseline, setting, seed))
    if isinstance(own, Reading):
        return _Pair(seed=seed, run=run, base=own, borrowed=False)
    others = sorted(
        ([natural(label) for _, label in other], one.cell, one)
        for (objective, other, there), one in readings.found.items()
        if (objective, there) == (baseline, seed) and without(other, axes.teachers) == without(setting, axes.teachers)
    )
    for _, _, base in others:
        if isinstance(base, Reading):
            return _Pair(seed=seed, run=run, base=base, borrowed=True)
    for _, cell, base in others:
        if isinstance(base, Missing):
            reason = f"the baseline is {base.reason}"
            return Lacking(seed=seed, cell=cell, reason=reason, impossible=base.impossible)
    return Lacking(seed=seed, cell=run.cell, reason=f"the matrix has no baseline ({baseline}) of this setting and seed")


def _measured(known: Effect, pairs: Sequence[_Pair], options: ReportOptions) -> Effect:
    table, left_out = _table(pairs)
    documents = table is not None
    if table is None:
        table = np.array([[pair.run.value - pair.base.value] for pair in pairs])
    found = interval(table, documents=documents, replicates=options.replicates, seed=options.seed)
    return replace(
        known,
        seeds=tuple(pair.seed for pair in pairs),
        documents=table.shape[1] if documents else 0,
        left_out=left_out,
        interval=found,
        value=float(np.mean([pair.run.value for pair in pairs])),
        baseline=float(np.mean([pair.base.value for pair in pairs])),
        cells=tuple(pair.run.cell for pair in pairs),
        baselines=tuple(pair.base.cell for pair in pairs),
        borrowed=any(pair.borrowed for pair in pairs),
    )


def _table(pairs: Sequence[_Pair]) -> tuple[Matrix | None, int]:
    """Return the differences [S, n] over documents that all runs have a number for, and how many were left out."""
    runs = [pair.run.examples for pair in pairs if pair.run.examples is not None]
    bases = [pair.base.examples for pair in pairs if pair.base.examples is not None]
    if len(runs) < len(pairs) or len(bases) < len(pairs):
        return None, 0
    table = np.stack(runs) - np.stack(bases)
    kept = ~np.isnan(table).any(axis=0)
    weights = pairs[0].run.weights
    if weights is not None:
        kept &= weights > 0
    left_out = int((~kept).sum())
    if not kept.any():
        return None, left_out
    return (table[:, kept] if weights is None else weighted(table[:, kept], weights[kept])), left_out
