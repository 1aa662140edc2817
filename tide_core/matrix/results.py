"""What the cells of a matrix found out: read from their folders, and written as one long table. Imports no torch.

A finished cell holds ``result.json``; one that could not be finished holds ``failure.json``. Both are written beside
their place and renamed, so that whoever reads sees the whole file or none.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tide_specs import ConfigError, Estimate

from .cells import Cell, Matrix

RESULT, FAILURE, LOG, CONFIG = "result.json", "failure.json", "log.txt", "config.json"

Status = Literal["finished", "impossible", "failed", "pending"]
Curve = list[tuple[int, float]]


@dataclass(kw_only=True)
class CellResult:
    """One cell, and what is known of it.

    cell: its id; labels: axis -> label; reason: why it is impossible, or how it failed; metrics: ``evaluator/metric`` ->
    estimate after the last step; per_example: ``evaluator/metric`` -> one number per held-out example, paired across
    cells by position; better: ``evaluator/metric`` -> which way it is better, for those that are; curves: ``loss``, ``loss/<term>``, ``evaluator/metric``, ... -> (step, value) in order of steps.

    seconds: what the cell took, all its parts together. teacher_forwards, student_forwards: forward passes of training,
    evaluation not counted. parameters: of the student. ``None``: not known.
    """

    cell: str
    labels: Mapping[str, str]
    status: Status
    reason: str = ""
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    per_example: Mapping[str, list[float]] = field(default_factory=dict)
    better: Mapping[str, Literal["higher", "lower"]] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    seconds: float = 0.0
    teacher_forwards: int | None = None
    student_forwards: int | None = None
    parameters: int | None = None
    config_path: Path | None = None
    log_path: Path | None = None
    directory: Path | None = None


def load_results(matrix: Matrix) -> list[CellResult]:
    """Return the state of every cell, in the matrix' order; cells that have not run are ``pending``."""
    return [load_result(cell) for cell in matrix.cells]


def load_result(cell: Cell) -> CellResult:
    """Return the state of one cell."""
    if not cell.possible:
        return CellResult(cell=cell.id, labels=cell.labels, status="impossible", reason=cell.reason)
    known: dict[str, Any] = {
        "cell": cell.id,
        "labels": cell.labels,
        "directory": cell.directory,
        "config_path": cell.directory / CONFIG,
        "log_path": cell.directory / LOG,
    }
    record = read_record(cell.directory / RESULT)
    if record is not None and record.get("identity") == cell.identity:
        return CellResult(**known, status="finished", **_measured(record))
    failure = read_record(cell.directory / FAILURE)
    if failure is not None:
        return CellResult(**known, status="failed", reason=str(failure["reason"]), seconds=float(failure["seconds"]))
    return CellResult(**known, status="pending")


def _measured(record: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {name: _estimate(**estimate) for name, estimate in record["metrics"].items()}
    return {
        "metrics": metrics,
        "per_example": {name: [float(value) for value in values] for name, values in record["per_example"].items()},
        "better": record["better"],
        "curves": {name: [(int(s), float(v)) for s, v in points] for name, points in record["curves"].items()},
        "seconds": float(record["seconds"]),
        **{name: record[name] for name in ("teacher_forwards", "student_forwards", "parameters")},
    }


def _estimate(value: Any, low: Any, high: Any) -> Estimate:
    """JSON has no number for what is not finite: the log holds ``"NaN"`` and ``"Infinity"``."""
    return Estimate(
        value=float(value), low=None if low is None else float(low), high=None if high is None else float(high)
    )


def read_record(path: Path) -> dict[str, Any] | None:
    """Return what a file of a cell holds, ``None`` when there is none. Raises ``ConfigError`` when it is damaged."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); delete it to run the cell again") from error
    return record


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a file of a cell, whole or not at all, whenever this process is killed."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8") as stream:
        json.dump(record, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def rows(results: Sequence[CellResult]) -> list[dict[str, Any]]:
    """Return one row per cell and metric; a cell without metrics has one row, whose ``metric`` is ``None``.

    Columns: ``cell``, ``axis.<name>`` for each axis, ``status``, ``reason``, ``metric``, ``value``, ``low``, ``high``,
    ``seconds``, ``teacher_forwards``, ``student_forwards``, ``parameters``, ``directory``.
    """
    return [row for result in results for row in _rows_of(result)]


def _rows_of(result: CellResult) -> list[dict[str, Any]]:
    head = {"cell": result.cell, **{f"axis.{axis}": label for axis, label in result.labels.items()}}
    head |= {"status": result.status, "reason": result.reason}
    tail = {name: getattr(result, name) for name in ("seconds", "teacher_forwards", "student_forwards", "parameters")}
    tail["directory"] = None if result.directory is None else str(result.directory)
    none = {"metric": None, "value": None, "low": None, "high": None}
    found = [{"metric": name, "value": e.value, "low": e.low, "high": e.high} for name, e in result.metrics.items()]
    return [{**head, **metric, **tail} for metric in found or [none]]


def write_csv(results: Sequence[CellResult], path: Path) -> None:
    """Write ``rows`` as CSV; what is not known is empty."""
    table = rows(results)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def write_parquet(results: Sequence[CellResult], path: Path) -> None:
    """Write ``rows`` as Parquet, with the same types whatever is known."""
    import pyarrow
    from pyarrow import parquet

    table = rows(results)
    types = {"value": "double", "low": "double", "high": "double", "seconds": "double"}
    types |= dict.fromkeys(("teacher_forwards", "student_forwards", "parameters"), "int64")
    schema = pyarrow.schema([(name, pyarrow.type_for_alias(types.get(name, "string"))) for name in table[0]])
    parquet.write_table(pyarrow.Table.from_pylist(table, schema=schema), str(path))
