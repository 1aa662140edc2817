"""How numbers, settings and intervals are written."""

from __future__ import annotations

import math

from .readings import Setting
from .resampling import Interval

DIGITS = 4
"""Significant digits of a metric's value."""


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


def probability(value: float | None) -> str:
    """Return a p-value."""
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval_text(interval: Interval) -> str:
    """Return ``low to high``, and what it is over where that is not seeds and documents; empty without an interval."""
    if interval.low is None or interval.high is None:
        return ""
    between = f"{number(interval.low, sign=True)} to {number(interval.high, sign=True)}"
    return between if interval.over == "seeds and documents" else f"{between}, {interval.over}"


def setting_text(setting: Setting) -> str:
    """Return a setting as ``teacher a, student b``."""
    return ", ".join(f"{axis} {label}" for axis, label in setting) or "the only setting"
