"""A matrix told as the lifecycle events of one run, to the observers that keep its cells under it. Imports no torch."""

from __future__ import annotations

import importlib.metadata
import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tide_core import __version__
from tide_core.observing import Observers
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_specs import Component, MetricsLogged, Observer, RunFinished, RunStarted, RunStatus

from .cells import Matrix
from .results import CellResult, Status, load_results, read_record, write_record

RECORD = "matrix.json"
PACKAGES = ("torch", "transformers")


@dataclass
class Whole:
    """The run that stands for a matrix. It has the same id whenever the matrix is gone on with."""

    matrix: Matrix
    registry: Registry
    run_id: str = field(init=False)
    _observers: Observers = field(init=False)
    _statuses: dict[str, Status] = field(init=False)

    def __post_init__(self) -> None:
        directory = self.matrix.directory
        earlier = read_record(directory / RECORD)
        self.run_id = uuid.uuid4().hex if earlier is None else str(earlier["run_id"])
        self._observers = Observers(self._nesting(), self._describe)
        self._statuses = {result.cell: result.status for result in load_results(self.matrix)}

    def _nesting(self) -> list[Observer]:
        every = [observer for cell in self.matrix.cells if cell.possible for observer in cell.config.observers]
        return list({repr(observer): observer for observer in every if observer.nests}.values())

    def _describe(self, component: Component) -> str:
        return f"{component.kind} '{component.name}' of {self.registry.origin(component)}"

    def part(self, config: RunConfig) -> RunConfig:
        """Return a cell's run as observed under this one."""
        directory = str(self.matrix.directory)
        observers = tuple(o.within(self.run_id, directory) if o.nests else o for o in config.observers)
        return config.model_copy(update={"observers": observers})

    def start(self) -> None:
        """Write down what the matrix is, and tell of it."""
        matrix, counts = self.matrix, self._counts()
        cells = [{"id": c.id, "labels": dict(c.labels), "directory": str(c.directory)} for c in matrix.cells]
        record = {"run_id": self.run_id, "file": matrix.file, "axes": dict(matrix.axes), "cells": cells}
        write_record(matrix.directory / RECORD, record)
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        facts: dict[str, Any] = {"versions": {"tide": __version__, "python": platform.python_version(), **versions}}
        started = RunStarted(
            run_id=self.run_id,
            directory=str(matrix.directory),
            config=matrix.record,
            facts={**facts, **counts},
            components=[],
            total_steps=len([cell for cell in matrix.cells if cell.possible]),
            first_step=counts["cells_finished"],
        )
        self._observers.send(started)

    def ended(self, result: CellResult) -> None:
        """Tell how many cells are done, now that one more is."""
        self._statuses[result.cell] = result.status
        counts = self._counts()
        metrics = {name: float(count) for name, count in counts.items()}
        done, total = counts["cells_finished"], counts["cells"] - counts["cells_impossible"]
        self._observers.send(MetricsLogged(step=done, total_steps=total, metrics=metrics))

    def finish(self, error: BaseException | None, tables: Sequence[Path]) -> None:
        """Tell that it is over, because of an ``error`` or not, and hand over the tables."""
        failed = [cell for cell, status in self._statuses.items() if status == "failed"]
        status: RunStatus = "failed" if error or failed else "finished"
        told = f"could not be finished: {', '.join(failed)}" if failed else None
        if error is not None:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else status
            told = str(error) or type(error).__name__
        artifacts = {path.name: str(path) for path in tables if path.is_file()}
        step = self._counts()["cells_finished"]
        self._observers.send(RunFinished(status=status, step=step, error=told, artifacts=artifacts))

    def _counts(self) -> Mapping[str, int]:
        statuses = list(self._statuses.values())
        counts = {f"cells_{status}": statuses.count(status) for status in ("finished", "failed", "impossible")}
        return {"cells": len(statuses), **counts}
