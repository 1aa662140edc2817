"""A benchmark told as the lifecycle events of a run, so that any observer can keep it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tide_core import __version__
from tide_core.assembly import describer
from tide_core.observing import Observers
from tide_core.registry import Registry
from tide_core.run_records import PACKAGES, component_record
from tide_specs import (
    Component,
    Estimate,
    Evaluation,
    EvaluationFinished,
    Observer,
    RunFinished,
    RunStarted,
    UnavailableError,
)

from .comparison import as_csv
from .protocol import CACHE_WORDS, Protocol

MEASURED = (
    "tokens_per_second",
    "forwards",
    "tokens_per_forward",
    "positions_per_token",
    "flops_per_token",
    "weights_bytes",
    "working_bytes",
    "times_faster",
    "times_less_memory",
    "times_fewer_flops",
)


class Tracked:
    """One benchmark and who is told of it: started before anything is measured, finished with everything that was."""

    def __init__(self, observer: Observer, registry: Registry, directory: Path) -> None:
        self._directory = directory
        self._registry = registry
        self._observers = Observers([observer], describer(registry))

    def start(self, protocol: Protocol, checkpoints: Mapping[str, Sequence[Component]]) -> None:
        """Tell of the protocol and of what loads and writes. Raises ``UnavailableError`` when nobody can listen."""
        self._directory.mkdir(parents=True, exist_ok=True)
        used = {repr(part): part for parts in checkpoints.values() for part in parts}
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        event = RunStarted(
            run_id=uuid.uuid4().hex,
            directory=str(self._directory),
            config={
                "protocol": asdict(protocol),
                "checkpoints": {
                    label: {part.kind: part.model_dump(mode="json") for part in parts}
                    for label, parts in checkpoints.items()
                },
            },
            facts={"versions": {"tide": __version__, "python": platform.python_version(), **versions}},
            components=[component_record(part, self._registry) for part in used.values()],
            total_steps=1,
        )
        self._observers.send(event)
        for name, reason in self._observers.muted.items():
            raise UnavailableError(f"--{name}: {reason}")

    def finish(self, report: Mapping[str, Any], *, whole: bool) -> None:
        """Tell of every row, and hand over the table and the whole report as files. ``whole``: nothing went wrong."""
        rows: Sequence[Mapping[str, Any]] = report["rows"]
        for row in rows:
            self._observers.send(EvaluationFinished(step=1, evaluator=place(row), evaluation=evaluation(row)))
        files = {"bench.csv": as_csv(rows), "bench.json": json.dumps(report, indent=2, default=str)}
        for name, text in files.items():
            (self._directory / name).write_text(text, encoding="utf-8")
        artifacts = {name: str(self._directory / name) for name in files}
        self._observers.send(
            RunFinished(status="finished" if whole else "failed", step=1, artifacts=artifacts),
        )


def place(row: Mapping[str, Any]) -> str:
    """Return where a row's metrics belong, e.g. ``bench/runs/demo/batch_8/tokens_256/cached``."""
    parts = ["bench", row["checkpoint"].strip("./"), f"batch_{row['batch_size']}", f"tokens_{row['new_tokens']}"]
    return "/".join(parts if row["cache"] is None else [*parts, CACHE_WORDS[row["cache"]]])


def evaluation(row: Mapping[str, Any]) -> Evaluation:
    """Return a row as metrics; the seconds come with their quartiles in the place of an interval."""
    seconds = Estimate(value=row["seconds"], low=row["seconds_low"], high=row["seconds_high"])
    known = {name: Estimate(value=float(row[name])) for name in MEASURED if row[name] is not None}
    return Evaluation(metrics={"seconds": seconds, **known})
