"""Tiny real runs, live and from a cache of their teacher's answers, in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

sys.path.append(str(Path(__file__).parents[1] / "run"))

from run_files import DEMO, run_record, student, teacher

from tide_core.compatibility import require_mix
from tide_core.config import LoadedRun, load_run
from tide_core.recording.building import Built, Order, build_cache
from tide_core.registry import Registry
from tide_core.run import run

__all__ = ["OWN", "build", "load", "logged", "student", "teacher", "train", "with_cache", "write"]

OWN = str(DEMO / "student-tokenizer")
LIVE: dict[str, Any] = {"batch_size": 1, "steps": 10, "noise_draws": 2}
"""One row at a time: the same products as in a cache, whatever the order of the rows."""


def write(folder: Path, **sections: Any) -> Path:
    """A run of a few rows; ``training`` is merged."""
    folder.mkdir(parents=True, exist_ok=True)
    data = sections.pop("data", {"name": "python_stdlib", "max_length": 48, "max_examples": 6})
    training = {**LIVE, **sections.pop("training", {})}
    record = run_record(folder, data=data, training=training, **sections)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    return path


def load(path: Path, registry: Registry, overrides: Sequence[str] = ()) -> LoadedRun:
    """Read and check a run file."""
    loaded = load_run(path, overrides, registry=registry)
    require_mix(loaded.config, registry, loaded.source)
    return loaded


def build(path: Path, cache: Path, registry: Registry, **options: Any) -> Built:
    """Build a cache of two draws."""
    order = Order(**{"path": cache, "draws": 2, "run_file": str(path), **options})
    return build_cache(load(path, registry).config, registry, order)


def with_cache(path: Path, cache: Path, name: str = "cached", number: int | None = None, **training: Any) -> Path:
    """Write the run at ``path`` again, with a cache in the place of its teacher (of teacher ``number`` of several)."""
    record = yaml.safe_load(path.read_text(encoding="utf-8"))
    lesson = record if number is None else record["teachers"][number]
    lesson["teacher"] = {"cache": str(cache)}
    record["training"].pop("noise_draws")
    record["training"].update(training)
    folder = path.parent.parent / name
    folder.mkdir(parents=True, exist_ok=True)
    record["output"] = str(folder / "out")
    other = folder / "run.yaml"
    other.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    return other


def train(path: Path, registry: Registry, overrides: Sequence[str] = ()) -> dict[int, dict[str, float]]:
    """Run, and return the logged losses and gradient norms of each step."""
    run(load(path, registry, overrides).config, registry)
    return logged(path)


def logged(path: Path) -> dict[int, dict[str, float]]:
    """Step -> losses and gradient norm."""
    lines = (path.parent / "out" / "events.jsonl").read_text().splitlines()
    events = [event for event in map(json.loads, lines) if event["event"] == "metrics_logged"]
    return {e["step"]: {k: v for k, v in e["metrics"].items() if k.startswith(("loss", "gradient"))} for e in events}
