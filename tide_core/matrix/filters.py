"""``include`` and ``exclude``: which combinations of labels are cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from tide_core.problems import Problem, RunFileError
from tide_core.registry import did_you_mean
from tide_core.yaml_source import Place, Source, path_text

from .axes import Axes, AxisValue, label_text

Combination = Mapping[str, AxisValue]


def combinations(axes: Axes, source: Source) -> list[Combination]:
    """Return the combinations that the filters keep, the last axis running fastest.

    Raises ``RunFileError`` for a filter that names no axis or no label, and when nothing is left.
    """
    include, exclude = source.data.get("include") or [], source.data.get("exclude") or []
    problems = [*_misnamed(axes, source, "include", include), *_misnamed(axes, source, "exclude", exclude)]
    if problems:
        raise RunFileError(problems)
    every: list[Combination] = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    kept = [one for one in every if not include or any(_matches(rule, one) for rule in include)]
    left = [one for one in kept if not any(_matches(rule, one) for rule in exclude)]
    if not left:
        place = ("exclude",) if kept else ("include",)
        raise RunFileError([_problem(source, place, f"leaves none of the {len(every)} cells")])
    return left


def _matches(rule: Mapping[str, Any], one: Combination) -> bool:
    return all(one[axis].label in _labels(given) for axis, given in rule.items())


def _labels(given: Any) -> list[str]:
    return [label_text(label) for label in (given if isinstance(given, list) else [given])]


def _misnamed(axes: Axes, source: Source, field: str, rules: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    for index, rule in enumerate(rules):
        if not rule:
            yield _problem(source, (field, index), "is empty; write  {AXIS: LABEL}")
        for axis, given in rule.items():
            place = (field, index, axis)
            if axis not in axes:
                yield _problem(source, place, f"there is no axis '{axis}'{did_you_mean(axis, list(axes))}", list(axes))
                continue
            known = [value.label for value in axes[axis]]
            for label in _labels(given):
                if label not in known:
                    message = f"axis '{axis}' has no value '{label}'{did_you_mean(label, known)}"
                    yield _problem(source, place, message, known)


def _problem(source: Source, place: Place, message: str, known: Sequence[str] = ()) -> Problem:
    hints = (f"there are: {', '.join(known)}",) if known else ()
    line = source.line(place) or 0
    return Problem(where=source.where(place), field=path_text(place), message=message, hints=hints, line=line)
