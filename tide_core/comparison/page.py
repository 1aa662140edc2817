"""The comparison as one HTML page that fetches nothing. Imports no torch."""

from __future__ import annotations

from typing import Any

from ..html_pages import filled
from .lines import Comparison, Line
from .tables import LEGEND, UNEQUAL, groups, heads, label


def page(comparison: Comparison) -> str:
    """Return the page."""
    return filled("comparison/page.html", contents(comparison))


def contents(comparison: Comparison) -> dict[str, Any]:
    """Return what the page shows, as plain data."""
    return {
        "heads": heads(comparison),
        "columns": list(comparison.columns),
        "groups": [
            {"name": group, "lines": [_line(comparison, one) for one in lines]} for group, lines in groups(comparison)
        ],
        "equal": [{"what": one.what, "equal": one.equal, "numbers": dict(one.numbers)} for one in comparison.equal],
        "notes": list(comparison.notes),
        "legend": LEGEND.format(comparison.baseline),
        "unequal": UNEQUAL,
    }


def _line(comparison: Comparison, line: Line) -> dict[str, Any]:
    cells = [line.cells.get(name) for name in comparison.columns]
    return {
        "label": label(line),
        "cells": [
            None if cell is None else {"text": cell.text, "verdict": _verdict(cell, line.better)} for cell in cells
        ],
    }


def _verdict(cell: Any, better: str) -> str:
    """Return ``better`` or ``worse`` where an interval leaves out 0 and the direction is known."""
    low, high = cell.difference_low, cell.difference_high
    if not better or low is None or high is None or low <= 0 <= high:
        return ""
    return "better" if (high < 0) == (better == "lower") else "worse"
