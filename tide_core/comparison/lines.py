"""The comparison as one table: lines of cells, a cell for each column. Numbers are kept beside their wording.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tide_core.matrix_report.wording import number
from tide_specs import Estimate


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One quantity of one run. low, high: 95 % interval; difference, ...: against the baseline, on the same documents."""

    text: str
    value: float | str | None = None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None

    def record(self) -> dict[str, Any]:
        """Return its numbers as plain data, without those that it lacks."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One quantity of all columns; a column without it is absent. better: which way it is better, where that is known."""

    group: str
    label: str
    cells: Mapping[str, Cell]
    better: str = ""


@dataclass(frozen=True, kw_only=True)
class Equality:
    """Something that a fair comparison may hold equal, and whether it is. numbers: run -> what it has."""

    what: str
    equal: bool
    numbers: Mapping[str, str]

    @property
    def text(self) -> str:
        """``yes (100)`` or ``NO (a: 100; b: 200)``."""
        if self.equal:
            return f"yes ({next(iter(self.numbers.values()))})"
        return f"NO ({'; '.join(f'{run}: {value}' for run, value in self.numbers.items())})"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that is said. columns: the runs, the baseline first, then their teachers where these were asked."""

    baseline: str
    columns: Sequence[str]
    lines: Sequence[Line]
    equal: Sequence[Equality]
    notes: Sequence[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "baseline": self.baseline,
            "columns": list(self.columns),
            "lines": [
                {
                    "group": line.group,
                    "quantity": line.label,
                    "better": line.better,
                    "cells": {name: cell.record() for name, cell in line.cells.items()},
                }
                for line in self.lines
            ],
            "held_equal": [{"what": one.what, "equal": one.equal, "numbers": dict(one.numbers)} for one in self.equal],
            "notes": list(self.notes),
        }


def same(what: str, numbers: Mapping[str, str], told_by: Mapping[str, str] | None = None) -> Equality:
    """Return whether all runs have the same; ``told_by``: what it is told by, where the numbers shown are not that."""
    return Equality(what=what, equal=len(set((told_by or numbers).values())) == 1, numbers=numbers)


def counted(value: float | None, unit: str = "") -> Cell | None:
    """Return a count with thousands apart; ``None`` where it is not known."""
    if value is None:
        return None
    return Cell(text=f"{value:,.0f}{unit}" if float(value).is_integer() else f"{value:,.1f}{unit}", value=value)


def estimated(estimate: Estimate) -> Cell:
    """Return an estimate with its interval."""
    known = estimate.low is not None and estimate.high is not None
    between = f" ({number(estimate.low)} to {number(estimate.high)})" if known else ""
    return Cell(text=number(estimate.value) + between, value=estimate.value, low=estimate.low, high=estimate.high)


def line(group: str, label: str, cells: Mapping[str, Cell | None], better: str = "") -> Line:
    """Return a line; cells that are ``None`` are left out."""
    return Line(
        group=group, label=label, cells={k: cell for k, cell in cells.items() if cell is not None}, better=better
    )
