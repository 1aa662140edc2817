"""What a finished run found out, read from the event log that every run writes. Imports no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

EVENTS = "events.jsonl"
TAIL_BYTES = 20_000

Event = Mapping[str, Any]


def read_events(directory: Path) -> list[Event]:
    """Return the events of a run's folder; what a killed process left half written is no event."""
    try:
        lines = (directory / EVENTS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return list(_events(lines))


def last_step(directory: Path) -> int | None:
    """Return the newest step that a run has logged, ``None`` where the end of its log names none."""
    try:
        with (directory / EVENTS).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    steps = [event["step"] for event in _events(lines) if event.get("event") == "metrics_logged"]
    return steps[-1] if steps else None


def _events(lines: Sequence[str]) -> Iterator[Event]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def measured(events: Sequence[Event], steps: int) -> dict[str, Any]:
    """Return metrics, numbers per example and which way is better after the last step, and curves over all steps.

    A step that a resumed run repeated counts once, with its newest values.
    """
    curves: dict[str, dict[int, Any]] = {}
    metrics: dict[str, Any] = {}
    per_example: dict[str, Any] = {}
    better: dict[str, str] = {}
    for event in events:
        if event["event"] == "metrics_logged":
            for name, value in event["metrics"].items():
                curves.setdefault(name, {})[event["step"]] = value
        elif event["event"] == "evaluation_finished":
            found = _named(event, "metrics")
            for name, estimate in found.items():
                curves.setdefault(name, {})[event["step"]] = estimate["value"]
            if event["step"] == steps:
                metrics |= found
                per_example |= _named(event, "per_example")
                better |= _named(event, "better")
    ordered = {name: sorted(points.items()) for name, points in curves.items()}
    return {"metrics": metrics, "per_example": per_example, "better": better, "curves": ordered}


def _named(event: Event, part: str) -> dict[str, Any]:
    """Return a part of an evaluation under the names ``evaluator/metric``."""
    return {f"{event['evaluator']}/{name}": value for name, value in event["evaluation"].get(part, {}).items()}


def facts(events: Sequence[Event]) -> Mapping[str, Any]:
    """Return what the newest part of the run said of data, models and versions."""
    started = [event for event in events if event["event"] == "run_started"]
    return started[-1] if started else {}


def seconds_of_parts(events: Sequence[Event], before: float) -> float:
    """Return how long the parts of a run took that began before a moment (Unix time), from start to last event."""
    parts: list[tuple[float, float]] = []
    for event in events:
        moment = datetime.fromisoformat(event["time"]).timestamp()
        if event["event"] == "run_started" or not parts:
            parts.append((moment, moment))
        parts[-1] = (parts[-1][0], moment)
    return sum(last - first for first, last in parts if first < before)
