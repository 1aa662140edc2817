"""The task files of ours, filled in: where the data lies, and the functions that they name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from tide_specs import ConfigError, DataError

from .fingerprints import of_file

FOLDER = Path(__file__).parent / "benchmarks"
SPLITS = ("test_split", "fewshot_split")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A task as the harness takes it (``spec``: a name, a file or a configuration), and what its scores depend on (``record``)."""

    name: str
    spec: str | Mapping[str, Any]
    record: Mapping[str, Any]
    runs_programs: bool = False


def task_names() -> list[str]:
    """Return the names of the tasks of ours."""
    return sorted(f"tide_{file.stem}" for file in FOLDER.glob("*.yaml"))


def prepare(name: str, data: str | None, shots: int | None) -> Prepared:
    """Return a task: one of ours with data from ``data``/<folder>/<split>.jsonl or the hub; else the harness's, or a YAML file.

    Raises ``ConfigError`` for a name that cannot be one, ``DataError`` for a split that is not in ``data``.
    """
    if name in task_names():
        return _ours(name, data, shots)
    file = Path(name)
    if file.suffix in (".yaml", ".yml"):
        if not file.is_file():
            raise ConfigError(f"lm_eval: tasks: {name}: no such file; tasks of ours: {', '.join(task_names())}")
        return Prepared(name=name, spec=str(file), record={"file": of_file(file)})
    return Prepared(name=name, spec=name, record={"name": name})


def _ours(name: str, data: str | None, shots: int | None) -> Prepared:
    from . import harness_answers as answers

    raw = cast("dict[str, Any]", yaml.safe_load((FOLDER / f"{name.removeprefix('tide_')}.yaml").read_text("utf-8")))
    folder, names = raw.pop("folder"), raw.pop("dataset_name", [None])
    path, given = raw.pop("dataset_path"), raw.get("process_results", "")
    spec: dict[str, Any] = {**raw, **({} if shots is None else {"num_fewshot": shots})}
    if spec["num_fewshot"] and "fewshot_split" not in spec:
        spec["fewshot_split"] = "train"
    if not spec["num_fewshot"]:
        spec.pop("fewshot_split", None)
    splits = [spec[key] for key in SPLITS if key in spec]
    files = None if data is None else {split: _file(Path(data) / folder / f"{split}.jsonl", name) for split in splits}
    record = {"task": dict(spec), "data": path if files is None else {s: of_file(f) for s, f in files.items()}}
    spec["custom_dataset"] = _hub(path, names, splits) if files is None else _local(files)
    if given:
        spec["process_results"] = answers.RESULTS[given]
    if "process_docs" in spec:
        spec["process_docs"] = answers.DOCUMENTS[spec["process_docs"]]
    return Prepared(name=name, spec=spec, record=record, runs_programs=given in answers.RUN_PROGRAMS)


def _file(path: Path, task: str) -> Path:
    if not path.is_file():
        raise DataError(
            f"lm_eval: task '{task}': {path}: no such file; put the benchmark's examples there, one JSON object a line"
        )
    return path


def _local(files: Mapping[str, Path]) -> Callable[..., Any]:
    def load(**_: Any) -> Any:
        from datasets import Dataset

        return {split: Dataset.from_list(_rows(path)) for split, path in files.items()}

    return load


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise DataError(f"{path}:{number}: is no JSON: {error}") from error
    if not rows:
        raise DataError(f"{path}: holds no example")
    return rows


def _hub(path: str, names: Sequence[str | None], splits: Sequence[str]) -> Callable[..., Any]:
    def load(**_: Any) -> Any:
        from datasets import concatenate_datasets, load_dataset

        loaded = [load_dataset(path, name) for name in names]
        return {split: concatenate_datasets([cast("Any", part)[split] for part in loaded]) for split in splits}

    return load
