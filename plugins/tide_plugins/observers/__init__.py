"""Bundled observers: MLflow tracking, a progress display, and an event log that is always written."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Observer, hookimpl

from .jsonl import JsonLines
from .progress import Progress
from .tracking import MLflow


@hookimpl
def tide_observers() -> Sequence[type[Observer]]:
    """Contribute the bundled observers."""
    return [MLflow, Progress, JsonLines]
