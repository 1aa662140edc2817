"""Whether the objectives keep their order from one setting to the next.

K objectives, M settings, B replicates, S seeds, n documents. Rank 1 is best; ties share the mean of their ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .complete import complete
from .options import Axes, Direction, ReportOptions
from .readings import Missing, Reading, Readings, Setting, natural, without
from .resampling import ENOUGH_SEEDS, draws

Array = NDArray[np.float64]
Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Mean Kendall tau over pairs of settings, with its percentile interval. pairs: how many."""

    name: str
    tau: float
    span: Span
    pairs: int


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Ranks of objectives in settings.

    ranks: [K, M]; mean, span: mean rank of each objective, and its percentile interval. w: Kendall's coefficient of
    concordance. agreements: among all pairs of settings, and among those that differ in one axis. left_out, dropped:
    settings and objectives without which the table is complete, and what they lack. reason: why nothing can be ranked.
    """

    objectives: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()
    ranks: Array | None = None
    mean: tuple[float, ...] = ()
    span: tuple[Span, ...] = ()
    w: float | None = None
    agreements: tuple[Agreement, ...] = ()
    seeds_resampled: bool = True
    left_out: Mapping[Setting, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


def ranking(readings: Readings, axes: Axes, baseline: str, better: Direction, options: ReportOptions) -> Ranking:
    """Return the ranks of the objectives, the baseline among them, over as much as makes a complete table."""
    objectives = list(dict.fromkeys(objective for objective, *_ in readings.found))
    settings = list(dict.fromkeys(setting for objective, setting, _ in readings.found if objective != baseline))
    known = {
        (objective, setting): _by_seed(readings, axes, objective, setting, objective == baseline)
        for objective in objectives
        for setting in settings
    }
    absent = {pair for pair, found in known.items() if not found}
    kept, complete_settings = complete(objectives, settings, absent, baseline)
    dropped = {
        objective: f"no number in {sum((objective, one) in absent for one in settings)} of {len(settings)} settings"
        for objective in objectives
        if objective not in kept
    }
    left_out = {
        setting: f"no number for {', '.join(one for one in objectives if (one, setting) in absent)}"
        for setting in settings
        if setting not in complete_settings
    }
    sign = -1.0 if better == "higher" else 1.0
    tables: dict[Setting, Array] = {}
    for setting in complete_settings:
        found = _table([known[objective, setting] for objective in kept])
        if isinstance(found, str):
            left_out[setting] = found
        else:
            tables[setting] = sign * found
    if len(kept) < 2 or not tables:
        reason = "fewer than two objectives have numbers in the same setting"
        return Ranking(left_out=left_out, dropped=dropped, reason=reason)
    return replace(_ranked(tuple(kept), tables, options), left_out=left_out, dropped=dropped)


def _ranked(
    objectives: tuple[str, ...],
    tables: Mapping[Setting, Array],
    options: ReportOptions,
) -> Ranking:
    settings = tuple(tables)
    ranks = average_ranks(np.stack([table.mean(axis=(1, 2)) for table in tables.values()]))  # [M, K]
    drawn = np.stack([_resampled(table, options) for table in tables.values()], axis=1)  # [B, M, K]
    drawn_ranks = average_ranks(drawn)
    span = np.percentile(drawn_ranks.mean(axis=1), (2.5, 97.5), axis=0)
    return Ranking(
        objectives=objectives,
        settings=settings,
        ranks=ranks.T,
        mean=tuple(ranks.mean(axis=0).tolist()),
        span=tuple((float(low), float(high)) for low, high in span.T),
        w=concordance(ranks) if len(settings) > 1 else None,
        agreements=tuple(_agreements(settings, ranks, drawn_ranks)),
        seeds_resampled=all(table.shape[1] >= ENOUGH_SEEDS for table in tables.values()),
    )


def _table(rows: Sequence[Mapping[str, Reading]]) -> Array | str:
    """Return the numbers [K, S, n] of a setting, over the seeds that all objectives have, or why there are none."""
    seeds = sorted(set.intersection(*(set(found) for found in rows)), key=natural)
    if not seeds:
        return "no seed has a number for every objective"
    picked = [[row[seed] for seed in seeds] for row in rows]
    examples = [[one.examples for one in row if one.examples is not None] for row in picked]
    if any(len(row) < len(seeds) for row in examples):
        return np.array([[[one.value] for one in row] for row in picked])
    table = np.array(examples)
    weights = picked[0][0].weights
    kept = ~np.isnan(table).any(axis=(0, 1)) & (True if weights is None else weights > 0)
    if not kept.any():
        return "no document has a number for every objective"
    share = 1.0 if weights is None else weights[kept] / weights[kept].mean()
    return table[:, :, kept] * share


def _by_seed(readings: Readings, axes: Axes, objective: str, setting: Setting, any_teacher: bool) -> dict[str, Reading]:
    found: dict[str, tuple[bool, Sequence[object], Reading]] = {}
    for (name, other, seed), one in readings.found.items():
        if name != objective or isinstance(one, Missing):
            continue
        same = other == setting
        if same or (any_teacher and without(other, axes.teachers) == without(setting, axes.teachers)):
            key = (not same, [natural(label) for _, label in other], one)
            found[seed] = min(found.get(seed, key), key, key=lambda item: item[:2])
    return {seed: one for seed, (_, _, one) in found.items()}


def _resampled(table: Array, options: ReportOptions) -> Array:
    """Return replicates [B, K] of the objectives' means; seeds are drawn where there are enough of them."""
    _, seeds, documents = table.shape
    drawn = draws(documents, options.replicates, options.seed + 1)
    means = np.einsum("ksn,bn->bks", table, drawn, optimize=True)
    if seeds < ENOUGH_SEEDS:
        return means.mean(axis=2)
    return np.einsum("bks,bs->bk", means, draws(seeds, options.replicates, options.seed))


def average_ranks(values: Array) -> Array:
    """Return the ranks, from 1 for the smallest, along the last axis; ties share the mean of theirs."""
    smaller = (values[..., None, :] < values[..., :, None]).sum(axis=-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(axis=-1)
    return smaller + (equal + 1) / 2


def concordance(ranks: Array) -> float:
    """Return Kendall's W of ranks [M, K], corrected for ties; 1 when all settings agree, 0 when everything is tied."""
    settings, objectives = ranks.shape
    sums = ranks.sum(axis=0)
    squares = float(((sums - sums.mean()) ** 2).sum())
    ties = 0.0
    for row in ranks:
        _, counts = np.unique(row, return_counts=True)
        ties += float((counts**3 - counts).sum())
    whole = settings**2 * (objectives**3 - objectives) - settings * ties
    return 12 * squares / whole if whole else 0.0


def tau(first: Array, second: Array) -> Array:
    """Return Kendall's tau-b of ranks [..., K]; 0 where one side is tied throughout."""
    above, below = np.triu_indices(first.shape[-1], 1)
    one = np.sign(first[..., above] - first[..., below])
    two = np.sign(second[..., above] - second[..., below])
    scale = np.sqrt((one != 0).sum(axis=-1) * (two != 0).sum(axis=-1))
    return np.divide((one * two).sum(axis=-1), scale, out=np.zeros(np.shape(scale)), where=scale > 0)


def _agreements(settings: Sequence[Setting], ranks: Array, drawn: Array) -> list[Agreement]:
    groups: dict[str, list[tuple[int, int]]] = {}
    for one, two in combinations(range(len(settings)), 2):
        differing = [
            axis for (axis, label), (_, other) in zip(settings[one], settings[two], strict=True) if label != other
        ]
        groups.setdefault("all pairs of settings", []).append((one, two))
        if len(differing) == 1:
            groups.setdefault(f"settings that differ in {differing[0]} only", []).append((one, two))
    return [_agreement(name, pairs, ranks, drawn) for name, pairs in groups.items()]


def _agreement(name: str, pairs: Sequence[tuple[int, int]], ranks: Array, drawn: Array) -> Agreement:
    point = np.mean([tau(ranks[one], ranks[two]) for one, two in pairs])
    replicates = np.mean([tau(drawn[:, one], drawn[:, two]) for one, two in pairs], axis=0)
    low, high = np.percentile(replicates, (2.5, 97.5))
    return Agreement(name=name, tau=float(point), span=(float(low), float(high)), pairs=len(pairs))
