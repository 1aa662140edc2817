"""Everything that a report says, worked out once; pages and tables only show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tide_specs import ConfigError

from ..matrix.results import CellResult
from .comparing import Effect, effects
from .options import Axes, Direction, ReportOptions, read_axes, read_baseline, read_metrics
from .ranking import Ranking, ranking
from .readings import Missing, first_line, read
from .verdict import Verdict, verdict

GAP = 0.001
"""Relative distance between a metric and the mean of its documents that deserves a word."""
STATUSES = ("finished", "failed", "impossible", "pending")


@dataclass(frozen=True, kw_only=True)
class MetricReport:
    """All that is said of one metric. weights: what weighs documents; missing: finished cells without a number."""

    name: str
    better: Direction
    weights: str
    effects: tuple[Effect, ...]
    verdicts: tuple[Verdict, ...]
    ranking: Ranking
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]

    @property
    def compared(self) -> int:
        """Number of comparisons that Holm's correction counts."""
        return sum(one.adjusted is not None for one in self.effects)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A matrix and what was found. counts: status -> cells; undirected: metrics that were not compared."""

    title: str
    axes: Axes
    labels: Mapping[str, tuple[str, ...]]
    baseline: str
    results: tuple[CellResult, ...]
    counts: Mapping[str, int]
    metrics: tuple[MetricReport, ...]
    undirected: tuple[str, ...]
    level: float
    replicates: int

    @property
    def unfinished(self) -> list[CellResult]:
        """Cells that say nothing, in the matrix' order."""
        return [result for result in self.results if result.status != "finished"]

    @property
    def reasons(self) -> list[tuple[str, str, list[str]]]:
        """Status and reason -> the cells that it holds for."""
        found: dict[tuple[str, str], list[str]] = {}
        for result in self.unfinished:
            found.setdefault((result.status, result.reason), []).append(result.cell)
        return [(status, reason, cells) for (status, reason), cells in found.items()]


def build_report(results: Sequence[CellResult], options: ReportOptions) -> Report:
    """Return the report of a matrix.

    Raises ``ConfigError`` when no cell is finished, when axes, baseline or metrics are not clear, and when a cell was
    evaluated on other documents than those that it is compared with.
    """
    counts = Counter(result.status for result in results)
    if not counts["finished"]:
        raise ConfigError(_nothing(results, counts))
    axes = read_axes(results, options)
    baseline = read_baseline(results, axes, options.baseline)
    chosen = read_metrics(results, options)
    return Report(
        title=options.title,
        axes=axes,
        labels={axis: tuple(dict.fromkeys(one.labels[axis] for one in results)) for axis in axes.every},
        baseline=baseline,
        results=tuple(results),
        counts={status: counts[status] for status in STATUSES},
        metrics=tuple(
            _metric(results, axes, baseline, name, better, options) for name, better in chosen.better.items()
        ),
        undirected=chosen.undirected,
        level=options.level,
        replicates=options.replicates,
    )


def _nothing(results: Sequence[CellResult], counts: Mapping[str, int]) -> str:
    if not results:
        return "the matrix has no cells; there is nothing to report"
    told = ", ".join(f"{counts[status]} {status}" for status in STATUSES[1:] if counts.get(status))
    reason = next((f"; cell '{one.cell}': {first_line(one.reason)}" for one in results if one.reason), "")
    return f"no cell of the matrix is finished ({told}); run it first{reason}"


def _metric(
    results: Sequence[CellResult], axes: Axes, baseline: str, name: str, better: Direction, options: ReportOptions
) -> MetricReport:
    readings = read(results, axes, name, options)
    found = effects(readings, axes, baseline, better, options)
    objectives = dict.fromkeys(one.objective for one in found)
    return MetricReport(
        name=name,
        better=better,
        weights=readings.weights,
        effects=tuple(found),
        verdicts=tuple(verdict(objective, found, axes) for objective in objectives),
        ranking=ranking(readings, axes, baseline, better, options),
        missing=tuple(readings.missing),
        notes=tuple(_notes(found, readings.gap)),
    )


def _notes(found: Sequence[Effect], gap: float) -> list[str]:
    over = Counter(one.interval.over for one in found if one.interval is not None)
    notes: list[str] = []
    few, seeds = over["documents only"], over["seeds only"]
    if few:
        notes.append(
            f"{few} of {len(found)} comparisons have fewer than 3 seeds, so that no interval over seeds can be given: "
            "theirs are over documents only, and say nothing of another seed."
        )
    if seeds:
        notes.append(
            f"{seeds} of {len(found)} comparisons have no numbers per document: intervals are over seeds only."
        )
    if over["nothing"]:
        notes.append(
            f"{over['nothing']} of {len(found)} comparisons have fewer than 3 seeds and no numbers per document: "
            "no interval can be given."
        )
    left_out = max((one.left_out for one in found), default=0)
    if left_out:
        notes.append(
            f"Up to {left_out} documents of a comparison have no number in some of its runs; they are left out of it."
        )
    if any(one.borrowed for one in found):
        notes.append(
            "Some baselines ran beside another teacher, which a run without distillation does not ask; details name them."
        )
    if gap > GAP:
        notes.append(
            f"The metric is not the mean over documents (they differ by up to {gap:.1%}); effects are differences of "
            "means over documents."
        )
    return notes
