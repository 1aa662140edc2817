"""Writing lifecycle events as JSON lines."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from tide_specs import (
    CheckpointSaved,
    EvaluationFinished,
    MetricsLogged,
    RunFinished,
    RunStarted,
    StepFinished,
    hookimpl,
)


def plain(value: object) -> Any:
    """Return ``value`` as what JSON can hold: records become objects, unknown things their text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return {str(key): plain(item) for key, item in pairs.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [plain(item) for item in cast("Sequence[object]", value)]
    return str(value)


def cut_partial_line(path: Path) -> int:
    """Remove what follows the last line end of a file; return how many bytes that was."""
    if not path.exists():
        return 0
    with path.open("rb+") as stream:
        size = end = stream.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            stream.seek(start)
            found = stream.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        stream.truncate(end)
    return size - end


class EventLog:
    """Listener that appends events to a file."""

    def __init__(self, directory: str, name: str, *, steps: bool = False) -> None:
        path = Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_partial_line(path)
        self._stream = path.open("a", encoding="utf-8")
        self._steps = steps

    def _write(self, kind: str, event: object) -> None:
        record = {"event": kind, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **plain(event)}
        # One write call per line: a reader never sees half an event of a live run.
        self._stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        self._stream.flush()

    @hookimpl
    def tide_run_started(self, event: RunStarted) -> None:
        """Write the resolved configuration and every component's version."""
        self._write("run_started", event)

    @hookimpl
    def tide_step_finished(self, event: StepFinished) -> None:
        """Write a line per step only where asked for."""
        if self._steps:
            self._write("step_finished", event)

    @hookimpl
    def tide_metrics_logged(self, event: MetricsLogged) -> None:
        """Write an interval's means."""
        self._write("metrics_logged", event)

    @hookimpl
    def tide_checkpoint_saved(self, event: CheckpointSaved) -> None:
        """Write where a checkpoint lies."""
        self._write("checkpoint_saved", event)

    @hookimpl
    def tide_evaluation_finished(self, event: EvaluationFinished) -> None:
        """Write metrics, tables and per-example numbers."""
        self._write("evaluation_finished", event)

    @hookimpl
    def tide_run_finished(self, event: RunFinished) -> None:
        """Write how the run ended and close the file."""
        self._write("run_finished", event)
        self._stream.close()
