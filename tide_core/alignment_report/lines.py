"""One line of a report's table, and how numbers are written in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """A group (empty: that of the line above), what is counted, its explanation, and a text for each column."""

    group: str
    label: str
    meaning: str
    cells: Sequence[str]


@dataclass(frozen=True)
class Figure:
    """A figure and where it is among those of a domain."""

    label: str
    meaning: str
    place: tuple[str, ...]
    digits: int = 3


def said(value: float | None, *, digits: int = 3) -> str:
    """A number in figures; ``-`` where there is none."""
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def read(one: Mapping[str, Any], place: Sequence[str]) -> Any:
    """The figure at a place among those of a domain."""
    value: Any = one
    for key in place:
        value = value[key]
    return value
