"""Where a trained student lies, and the architecture that loads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tide_specs import Architecture, CheckpointError, ConfigError

from .registry import Registry
from .yaml_source import parse_value

DEFAULT_ARCHITECTURE = "huggingface"
"""What a directory is taken for that no run vouches for."""


@dataclass(frozen=True, kw_only=True)
class SavedStudent:
    """``path``: the model's directory (or file); ``run``: the configuration of the run that made it, where it is known."""

    path: Path
    run: Mapping[str, Any] | None


def find_student(checkpoint: str) -> SavedStudent:
    """Find the model in a student's directory, a checkpoint, or a run folder (its newest checkpoint while it trains).

    Raises ``CheckpointError`` when nothing is there.
    """
    path = Path(checkpoint)
    if not path.exists():
        raise CheckpointError(
            f"{checkpoint}: no such folder; name a run folder, a checkpoint, or the directory of a saved student"
        )
    if (path / "student").is_dir():
        path = path / "student"
    elif (path / "checkpoints").is_dir():
        path = _newest(path) / "student"
    return SavedStudent(path=path, run=_run_of(path))


def _newest(run: Path) -> Path:
    from .checkpoints import newest_checkpoint

    newest = newest_checkpoint(run / "checkpoints")
    if newest is None:
        raise CheckpointError(f"{run / 'checkpoints'}: holds no complete checkpoint yet; let the run go on")
    return newest.path


def _run_of(model: Path) -> Mapping[str, Any] | None:
    """Read the run's configuration that lies beside a checkpoint's or a run's student."""
    for file in (model.resolve().parent / "state.json", model.resolve().parent / "config.json"):
        if not file.is_file():
            continue
        try:
            record: Any = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{file}: cannot be read ({error}); copy the student's directory elsewhere"
            ) from error
        config = record.get("config", record) if isinstance(record, dict) else None
        if isinstance(config, dict) and isinstance(config.get("student"), dict):
            return config
    return None


def student_architecture(student: SavedStudent, registry: Registry, given: str | None = None) -> Architecture:
    """Return the architecture that loads a student: the one ``given``, or its run's, or the one that recognises its files.

    ``huggingface`` where none does.

    ``given``: a name, or a mapping with name and options, as YAML. Raises ``ConfigError``.
    """
    path = str(student.path)
    if given is not None:
        return registry.build("architecture", {"model": path, **_options(given)})
    if student.run is not None:
        recorded: Architecture = registry.build("architecture", student.run["student"])
        return recorded.saved_at(path)
    named = (name for name, cls in registry.classes("architecture").items() if _recognises(cls, path))
    return registry.build("architecture", {"name": next(named, DEFAULT_ARCHITECTURE), "model": path})


def _recognises(cls: type[Any], path: str) -> bool:
    """Ask an architecture; one that fails to answer does not know the directory."""
    try:
        return bool(cls.recognises(path))
    except Exception:  # a plugin's fault must not keep another's model from loading
        return False


def _options(given: str) -> Mapping[str, Any]:
    try:
        value = parse_value(given)
    except yaml.YAMLError as error:
        raise ConfigError(f"--architecture {given}: is not valid YAML: {getattr(error, 'problem', error)}") from None
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, dict):
        raise ConfigError(f"--architecture {given}: write a name, or '{{name: huggingface, form: autoregressive}}'")
    return value
