"""What a page shows of single cells: their numbers, configuration, last log lines and curves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..matrix.results import CellResult
from ..shown_paths import from_here
from .wording import number

LONGEST = 20_000
"""Characters of a configuration, and bytes of a log, that a page shows."""
LINES = 30
"""Of the end of a log."""
POINTS = 100
"""Of one curve."""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class Lines:
    """Lines of text, each kept once: the configurations of a matrix' cells differ in a few of them."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def places(self, lines: Sequence[str]) -> list[int]:
        """Return the places of lines among those kept."""
        return [self._places.setdefault(line, len(self._places)) for line in lines]

    @property
    def kept(self) -> list[str]:
        """All lines, in their places."""
        return list(self._places)


def cell_details(result: CellResult, lines: Lines) -> dict[str, Any]:
    """Return all that is known of one cell, as plain data; its texts as places in ``lines``."""
    return {
        "id": result.cell,
        "status": result.status,
        "labels": ", ".join(f"{axis} {label}" for axis, label in result.labels.items()),
        "reason": result.reason,
        "numbers": _numbers(result),
        "config": lines.places(_config(result.config_path)),
        "log": lines.places([from_here(line) for line in log_tail(result.log_path)]),
    }


def _numbers(result: CellResult) -> list[tuple[str, str]]:
    found = [(name, _estimate(one.value, one.low, one.high)) for name, one in result.metrics.items()]
    whole = ("teacher_forwards", "student_forwards", "parameters")
    counted = [(name.replace("_", " "), getattr(result, name)) for name in whole]
    found += [(name, f"{value:,}") for name, value in counted if value is not None]
    if result.seconds:
        found.append(("seconds", f"{result.seconds:,.1f}"))
    return [*found, ("folder", from_here(str(result.directory)))] if result.directory else found


def _estimate(value: float, low: float | None, high: float | None) -> str:
    if not math.isfinite(value):
        return str(value)
    between = "" if low is None or high is None else f" ({number(low)} to {number(high)})"
    return number(value) + between


def _config(path: Path | None) -> list[str]:
    try:
        text = "" if path is None else path.read_text(encoding="utf-8")
    except OSError:
        return []
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}\n... ({len(text):,} characters in {path})"
    return from_here(shown).splitlines()


def log_tail(path: Path | None) -> list[str]:
    """Return the last lines of a log as a terminal would show them; nothing where there is none."""
    if path is None:
        return []
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - LONGEST))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    shown = (ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in text.split("\n"))
    return [line for line in shown if line.strip()][-LINES:]


def curves(results: Sequence[CellResult], objective_axis: str, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return name of a curve -> the lines of all runs that have it, with at most ``POINTS`` points each."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        lines = [
            {"objective": one.labels[objective_axis], "cell": one.cell, "points": thinned(one.curves[name])}
            for one in results
            if one.curves.get(name)
        ]
        if lines:
            found[name] = lines
    return found


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float | None]]:
    """Return evenly spaced points of a curve, its first and last among them; what is not finite is ``None``."""
    stride = max(1, math.ceil(len(points) / POINTS))
    kept = [point for index, point in enumerate(points) if index % stride == 0 or index == len(points) - 1]
    return [(step, float(f"{value:.5g}") if math.isfinite(value) else None) for step, value in kept]
