"""How numbers, settings and intervals are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .readings import Setting
from .resampling import Interval


def number(value: float | None, *, sign: bool = False) -> str:
    """Return a number with three decimals, with more where all of them would be 0; a true minus sign."""
    if value is None:
        return ""
    size = abs(value)
    decimals = 3 if size >= 0.0995 or size == 0 else min(8, 2 - math.floor(math.log10(size)))
    text = f"{size:.{max(3, decimals) if size < 100 else 1}f}"
    if value < 0:
        return f"−{text}"
    return f"+{text}" if sign and value > 0 else text


def decimals(interval: Interval) -> int | None:
    """Return how many decimals an estimate deserves: two digits of half its interval; ``None`` without an interval."""
    if interval.low is None or interval.high is None or interval.high <= interval.low:
        return None
    return min(9, max(1, 1 - math.floor(math.log10((interval.high - interval.low) / 2))))


def difference(value: float, places: int | None) -> str:
    """Return a difference with its sign and so many decimals; 0 has no sign."""
    if places is None:
        return number(value, sign=True)
    text = f"{abs(value):.{places}f}"
    return text if not float(text) else f"{'−' if value < 0 else '+'}{text}"


def difference_text(interval: Interval) -> str:
    """Return an interval's estimate."""
    return difference(interval.value, decimals(interval))


def probability(value: float | None) -> str:
    """Return a p-value."""
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def between_text(interval: Interval) -> str:
    """Return ``low to high``; empty without an interval."""
    if interval.low is None or interval.high is None:
        return ""
    places = decimals(interval)
    return f"{difference(interval.low, places)} to {difference(interval.high, places)}"


def interval_text(interval: Interval) -> str:
    """Return ``low to high``, and what it is over where that is not seeds and documents; empty without an interval."""
    between = between_text(interval)
    return f"{between}, {interval.over}" if between and interval.over != "seeds and documents" else between


WORDS = {
    "better": "better",
    "worse": "worse",
    "unclear": "unclear",
    "few seeds": "too few seeds",
    "missing": "not measured",
    "impossible": "impossible",
}
"""Outcomes of a comparison, as tables call them."""

NAMED = 12
"""Settings, or cells, of one group that are named."""


def first_few(texts: Sequence[str], separator: str = "; ", last: str = "; and") -> str:
    """Return the first texts of a list, and how many more there are."""
    more = f"{last} {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return separator.join(texts[:NAMED]) + more


def settings_text(settings: Sequence[Setting], among: Sequence[Setting]) -> str:
    """Return settings in few words: the labels that tell them from the others, where these say it exactly."""
    first = dict(among[0])
    labels = {axis: dict.fromkeys(dict(one)[axis] for one in settings) for axis in first}
    every = {axis: {dict(one)[axis] for one in among} for axis in first}
    described = [one for one in among if all(label in labels[axis] for axis, label in one)]
    if len(settings) > 1 and len(described) == len(settings):
        parts = [f"{axis} {' or '.join(found)}" for axis, found in labels.items() if len(found) < len(every[axis])]
        return f"{', '.join(parts) or 'all settings'} ({len(settings)} settings)"
    return first_few([setting_text(one) for one in settings])


def setting_text(setting: Setting) -> str:
    """Return a setting as ``teacher a, student b``."""
    return ", ".join(f"{axis} {label}" for axis, label in setting) or "the only setting"
