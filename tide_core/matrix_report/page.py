"""The report as one HTML page: the template ``page.html`` with the report in it as JSON; it fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from ..html_pages import filled
from .comparing import Effect
from .drilldown import Lines, cell_details, curves
from .markdown import mean_text, rank_order, rank_row, ranking_lines, unranked
from .options import Axes
from .readings import setting_of, without
from .report import MetricReport, Report
from .verdict import Verdict, group_texts, lacking_text
from .wording import WORDS, between_text, difference_text, number, probability, setting_text


def page(report: Report) -> str:
    """Return the page."""
    return filled("matrix_report/page.html", contents(report))


def contents(report: Report) -> dict[str, Any]:
    """Return what the page shows, as plain data."""
    lines = Lines()
    cells = [cell_details(result, lines) for result in report.results]
    return {
        "title": report.title,
        "facts": _facts(report),
        "baseline": report.baseline,
        "objectiveAxis": report.axes.objective,
        "objectives": [
            report.baseline,
            *(one for one in report.labels[report.axes.objective] if one != report.baseline),
        ],
        "level": report.level,
        "metrics": [_metric(report, metric) for metric in report.metrics],
        "unfinished": report.reasons,
        "undirected": list(report.undirected),
        "cells": cells,
        "lines": lines.kept,
        "settings": _settings(report),
    }


def _facts(report: Report) -> list[tuple[str, str]]:
    counts = ", ".join(f"{count} {status}" for status, count in report.counts.items() if count)
    axes = [(axis, ", ".join(labels)) for axis, labels in report.labels.items()]
    return [("cells", counts), ("baseline", f"{report.axes.objective} {report.baseline}"), *axes]


def _settings(report: Report) -> list[dict[str, Any]]:
    """Return each setting with the curves of its runs; a baseline of another teacher stands in where there is none."""
    axes, found = report.axes, []
    settings = dict.fromkeys(
        setting_of(one.labels, axes) for one in report.results if one.labels[axes.objective] != report.baseline
    )
    for setting in settings or dict.fromkeys(setting_of(one.labels, axes) for one in report.results):
        own = [one for one in report.results if setting_of(one.labels, axes) == setting]
        if not any(one.labels[axes.objective] == report.baseline and one.curves for one in own):
            own += [
                one
                for one in report.results
                if one.labels[axes.objective] == report.baseline
                and without(setting_of(one.labels, axes), axes.teachers) == without(setting, axes.teachers)
            ]
        names = [metric.name for metric in report.metrics]
        found.append({"name": setting_text(setting), "curves": curves(own, axes.objective, ["loss", *names])})
    return found


def _metric(report: Report, metric: MetricReport) -> dict[str, Any]:
    scale = max((_farthest(one) for one in metric.effects), default=0.0)
    places = {(one.objective, one.setting): index for index, one in enumerate(metric.effects)}
    weighing = f" Documents are weighed by {metric.weights}." if metric.weights else ""
    return {
        "name": metric.name,
        "better": metric.better,
        "compared": metric.compared,
        "scale": number(scale),
        "weighing": weighing,
        "notes": list(metric.notes),
        "verdicts": [_verdict(one) for one in metric.verdicts],
        "maps": [
            {"objective": one.objective, "tables": _tables(report.axes, report.labels, one.objective, places)}
            for one in metric.verdicts
        ],
        "effects": [_effect(one, scale) for one in metric.effects],
        "ranks": _ranks(metric),
        "missing": [[one.cell, one.reason] for one in metric.missing],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "objective": verdict.objective,
        "headline": verdict.headline,
        "groups": [[words, len(effects), group_texts(verdict, words, effects)] for words, effects in verdict.groups],
        "mean": "" if verdict.mean is None else mean_text(verdict),
    }


def _tables(
    axes: Axes, labels: Mapping[str, Sequence[str]], objective: str, places: Mapping[Any, int]
) -> list[dict[str, Any]]:
    """Return the heat maps of an objective: one for each combination of the labels of axes that span no map."""
    row, column = (axes.teachers[0] if axes.teachers else ""), axes.student
    others = [axis for axis in axes.setting if axis not in (row, column)]
    tables: list[dict[str, Any]] = []
    for combination in product(*(labels[axis] for axis in others)):
        fixed = dict(zip(others, combination, strict=True))
        cells = [
            [
                places.get((objective, _setting(axes, {**fixed, row: above, column: beside})))
                for beside in _of(labels, column)
            ]
            for above in _of(labels, row)
        ]
        if any(place is not None for line in cells for place in line):
            name = ", ".join(f"{axis} {label}" for axis, label in fixed.items())
            head = {"rowAxis": row, "columnAxis": column, "rows": _of(labels, row), "columns": _of(labels, column)}
            tables.append({"name": name, **head, "cells": cells})
    return tables


def _of(labels: Mapping[str, Sequence[str]], axis: str) -> list[str]:
    return list(labels[axis]) if axis else [""]


def _setting(axes: Axes, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((axis, labels[axis]) for axis in axes.setting)


def _farthest(effect: Effect) -> float:
    """Return the farthest end of an interval from 0, so that what may be noise is pale."""
    found = effect.interval
    return 0.0 if found is None else max(abs(end) for end in (found.value, found.low, found.high) if end is not None)


def _effect(effect: Effect, scale: float) -> dict[str, Any]:
    found = effect.interval
    return {
        "objective": effect.objective,
        "setting": setting_text(effect.setting),
        "outcome": effect.outcome,
        "word": WORDS[effect.outcome],
        "share": effect.gain / scale if scale else 0.0,
        "value": number(effect.value),
        "baseline": number(effect.baseline),
        "difference": "" if found is None else difference_text(found),
        "between": "" if found is None else between_text(found),
        "p": probability(effect.adjusted),
        "over": "" if found is None or found.over not in ("documents only", "seeds only") else found.over,
        "seeds": len(effect.seeds),
        "documents": effect.documents,
        "leftOut": effect.left_out,
        "cells": list(effect.cells),
        "baselines": list(effect.baselines),
        "borrowed": effect.borrowed,
        "lacking": lacking_text(effect),
    }


def _ranks(metric: MetricReport) -> dict[str, Any]:
    found = metric.ranking
    left_out = unranked(found)
    if found.ranks is None:
        return {"lines": [f"Not ranked: {found.reason}."], "columns": [], "rows": [], "leftOut": left_out}
    return {
        "lines": ranking_lines(found),
        "columns": ["objective", "mean rank", "95 % interval", *(setting_text(one) for one in found.settings)],
        "rows": [rank_row(found, index) for index in rank_order(found)],
        "leftOut": left_out,
    }
