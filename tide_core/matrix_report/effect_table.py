"""All comparisons as one table, for other programs."""

from __future__ import annotations

import csv
import io
from typing import Any

from .comparing import Effect
from .report import Report
from .verdict import lacking_text


def effect_csv(report: Report) -> str:
    """Return one row for each metric, objective and setting; what is not known is empty."""
    rows = [_row(effect) for metric in report.metrics for effect in metric.effects]
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return stream.getvalue()


def _row(effect: Effect) -> dict[str, Any]:
    found = effect.interval
    numbers = ("low", "high", "standard_error", "degrees", "p", "over")
    return {
        "metric": effect.metric,
        "better": effect.better,
        "objective": effect.objective,
        **{f"axis.{axis}": label for axis, label in effect.setting},
        "value": effect.value,
        "baseline": effect.baseline,
        "difference": None if found is None else found.value,
        **{name: None if found is None else getattr(found, name) for name in numbers},
        "p_holm": effect.adjusted,
        "outcome": effect.outcome,
        "seeds": " ".join(effect.seeds),
        "documents": effect.documents,
        "documents_left_out": effect.left_out,
        "cells": " ".join(effect.cells),
        "baselines": " ".join(effect.baselines),
        "lacking": lacking_text(effect),
    }
