"""What a matrix costs before it is started: how many cells, how many passes, how long, how much memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tide_core.config import LoadedRun
from tide_core.plan import RunPlan, ask, plan_run
from tide_core.registry import Registry
from tide_specs import Architecture

from .cells import Cell
from .definition import LoadedMatrix
from .forwards import forwards
from .results import CellResult, load_results


@dataclass(frozen=True, kw_only=True)
class MatrixPlan:
    """A matrix, and what is still to do.

    impossible: reason -> the cells that it keeps from running. teacher_forwards, student_forwards, flops: of the cells
    that are to do. seconds: of all workers together, ``None`` where nothing is known; basis: where that comes from.
    memory: bytes of the largest cell, and of as many of the largest cells as run at once.
    """

    cells: int
    finished: int
    todo: Sequence[str]
    impossible: Mapping[str, Sequence[str]]
    workers: int
    teacher_forwards: int
    student_forwards: int
    flops: float
    seconds: float | None
    basis: str
    memory: tuple[float, float]

    @property
    def hours(self) -> float | None:
        """Until all cells are finished, if every worker is busy all the time."""
        return None if self.seconds is None else self.seconds / self.workers / 3600


def plan_matrix(loaded: LoadedMatrix, registry: Registry) -> MatrixPlan:
    """Estimate what the cells that are possible and not finished cost. Raises what ``plan_run`` raises, located."""
    results = {result.cell: result for result in load_results(loaded.matrix)}
    possible = [cell for cell in loaded.matrix.cells if cell.possible]
    sizes_of = _Sizes()
    plans = {cell.id: _plan(cell, registry, sizes_of) for cell in possible}
    todo = [cell for cell in possible if results[cell.id].status != "finished"]
    passes = [forwards(cell.config) for cell in todo]
    workers = max(1, min(loaded.options.workers, len(todo)))
    finished = [results[cell.id] for cell in possible if results[cell.id].status == "finished"]
    seconds, basis = _seconds(todo, plans, finished, loaded.options.flops_per_second)
    sizes = sorted((plans[cell.id].bytes for cell in todo), reverse=True)
    return MatrixPlan(
        cells=len(loaded.matrix.cells),
        finished=len(finished),
        todo=[cell.id for cell in todo],
        impossible=_grouped(loaded.matrix.cells),
        workers=workers,
        teacher_forwards=sum(teacher for teacher, _ in passes),
        student_forwards=sum(student for _, student in passes),
        flops=sum(plans[cell.id].flops for cell in todo),
        seconds=seconds,
        basis=basis,
        memory=(max(sizes, default=0.0), sum(sizes[:workers])),
    )


def _plan(cell: Cell, registry: Registry, sizes_of: _Sizes) -> RunPlan:
    with LoadedRun(cell.config, cell.source).located():
        return plan_run(cell.config, registry, sizes_of)


class _Sizes:
    """Asks each architecture once, for it may have to build the model and read a tokenizer to answer."""

    def __init__(self) -> None:
        self._known: dict[tuple[type[Architecture], str], Mapping[str, Any]] = {}

    def __call__(self, model: Architecture) -> Mapping[str, Any]:
        key = type(model), json.dumps(model.model_dump(mode="json"), sort_keys=True)
        if key not in self._known:
            self._known[key] = ask(model)
        return self._known[key]


def _grouped(cells: Sequence[Cell]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for cell in cells:
        if not cell.possible:
            groups.setdefault(cell.reason, []).append(cell.id)
    return groups


def _seconds(
    todo: Sequence[Cell], plans: Mapping[str, RunPlan], finished: Sequence[CellResult], speed: float | None
) -> tuple[float | None, str]:
    """Measured speed first, then the one that the file gives; a cell of unknown arithmetic takes as long as the others."""
    known = all(plan.known for plan in plans.values())
    cells = f"{len(finished)} finished cell{'s' if len(finished) > 1 else ''}"
    if finished and known:
        speed = sum(plans[result.cell].flops for result in finished) / sum(result.seconds for result in finished)
        basis = f"measured on {cells}: {speed:.3g} FLOP/s a worker"
        return sum(plans[cell.id].flops for cell in todo) / speed, basis
    if finished:
        mean = sum(result.seconds for result in finished) / len(finished)
        return mean * len(todo), f"as long as {cells} in the mean, since an architecture does not say how large it is"
    if speed and known:
        return sum(plans[cell.id].flops for cell in todo) / speed, f"at flops_per_second: {speed:.3g}"
    missing = "no cell is finished, and the file gives no flops_per_second"
    return None, missing if known else "no cell is finished, and an architecture does not say how large it is"
