"""Plots of a run's curves as PNG files, drawn without a display."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Curve = Sequence[tuple[int, float]]


def group_of(metric: str) -> str:
    """Return the plot that a metric belongs to: all loss terms share one, and so do an evaluator's metrics."""
    return metric.split("/", 1)[0]


def draw(curves: Mapping[str, Curve], directory: Path) -> list[Path]:
    """Draw one PNG per group of metrics into ``directory``; return the files in order.

    ``<metric>_low`` and ``<metric>_high`` become a band around ``<metric>``. Values that are not finite are left out.
    """
    finite = {key: [(x, y) for x, y in curve if math.isfinite(y)] for key, curve in curves.items()}
    kept = {key: curve for key, curve in finite.items() if curve}
    paths: list[Path] = []
    for group in sorted({group_of(key) for key in kept if not _is_bound(key, kept)}):
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / (re.sub(r"\W", "_", group) + ".png")
        _draw_group({k: c for k, c in kept.items() if group_of(_owner(k, kept)) == group}, group, path)
        paths.append(path)
    return paths


def _owner(key: str, curves: Mapping[str, Curve]) -> str:
    """Return the metric that ``key`` is a bound of, or ``key`` itself."""
    base = re.sub(r"_(low|high)$", "", key)
    return base if base in curves else key


def _is_bound(key: str, curves: Mapping[str, Curve]) -> bool:
    return _owner(key, curves) != key


def _draw_group(curves: Mapping[str, Curve], title: str, path: Path) -> None:
    figure: Any = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for key in _worth_drawing(curves):
        _draw_curve(axes, key, curves)
    axes.set_xlabel("step")
    axes.set_title(title)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _worth_drawing(curves: Mapping[str, Curve]) -> list[str]:
    """Return the metrics of a plot: where any has an interval, the others are counts of another scale."""
    metrics = [key for key in curves if not _is_bound(key, curves)]
    return [key for key in metrics if f"{key}_low" in curves] or metrics


def _draw_curve(axes: Any, key: str, curves: Mapping[str, Curve]) -> None:
    steps, values = zip(*curves[key], strict=True)
    # A run evaluated once has a single point, which a bare line would not show.
    (line,) = axes.plot(steps, values, label=key, marker="o" if len(steps) < 12 else None, markersize=3)
    low, high = dict(curves.get(f"{key}_low", ())), dict(curves.get(f"{key}_high", ()))
    shared = sorted(low.keys() & high.keys())
    if shared:
        lows, highs = [low[x] for x in shared], [high[x] for x in shared]
        axes.fill_between(shared, lows, highs, color=line.get_color(), alpha=0.2)
