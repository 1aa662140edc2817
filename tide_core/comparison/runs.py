"""Which runs are compared: found in run folders, checkpoints and run files, and refused unless they are finished.

Imports no torch but for a run file, which is held against the run that its folder holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tide_core.config import differences, load_run, run_from_record
from tide_core.matrix.recording import Event, facts, read_events
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_specs import CheckpointError, ConfigError

STAGE, STATE, CONFIG, STUDENT, CHECKPOINTS = "stage.json", "state.json", "config.json", "student", "checkpoints"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One run, up to a step. events: its log up to there; started: the newest entry that says with what it began."""

    name: str
    directory: Path
    config: RunConfig
    started: Event
    events: Sequence[Event]
    step: int
    built_on: Sequence[str] = ()

    @property
    def facts(self) -> Mapping[str, Any]:
        """Data and models as the run found them."""
        return self.started["facts"]


@dataclass(frozen=True, kw_only=True)
class FoundRun:
    """What one name stands for. parts: all runs that its student is the work of, in their order; the last one made it."""

    label: str
    parts: Sequence[Part]
    student: Path

    @property
    def last(self) -> Part:
        """The run that made the student."""
        return self.parts[-1]

    @property
    def config(self) -> RunConfig:
        """The configuration of the run that made the student."""
        return self.last.config


def find_runs(given: Sequence[str], registry: Registry) -> list[FoundRun]:
    """Return the runs that were named, each by its path or as ``NAME=PATH``.

    Raises ``CheckpointError`` or ``ConfigError`` naming the one that is missing, not finished, or named twice.
    """
    found: list[FoundRun] = []
    for text in given:
        label, path = _split(text)
        run = _find(label, path, registry)
        for other in found:
            if other.label == label:
                raise ConfigError(f"{text}: two runs are called '{label}'; name them apart as NAME=PATH")
            if (other.last.directory.resolve(), other.last.step) == (run.last.directory.resolve(), run.last.step):
                raise ConfigError(f"{path}: is the same run as {other.label}; a run is not compared with itself")
        found.append(run)
    return found


def _split(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    return (name, path) if equals and name and path and not Path(text).exists() else (text, text)


def _find(label: str, given: str, registry: Registry) -> FoundRun:
    path = Path(given)
    if path.is_file():
        return _of_run_file(label, given, registry)
    if not path.is_dir():
        raise CheckpointError(f"{given}: no such folder; name a finished run's folder, a checkpoint, or a run file")
    if path.name == STUDENT and any((path.parent / name).is_file() for name in (STATE, CONFIG)):
        path = path.parent
    if (path / STATE).is_file():
        return _of_checkpoint(label, path, registry)
    return _of_folder(label, path, registry)


def _of_run_file(label: str, given: str, registry: Registry) -> FoundRun:
    loaded = load_run(given, registry=registry)
    folder = Path(loaded.config.output)
    if not folder.is_dir():
        raise CheckpointError(f"{given}: has not run yet: there is no {folder}; tide run {given}")
    run = _of_folder(label, folder, registry)
    if loaded.config.recipe is None:
        _require_same_file(given, run, loaded.config)
    return run


def _require_same_file(given: str, run: FoundRun, config: RunConfig) -> None:
    """The numbers in a folder must be those of the file that was named."""
    from tide_core.config import config_record
    from tide_core.resume import HARMLESS_FIELDS, HARMLESS_SECTIONS

    for found in differences(config_record(run.config), config_record(config)):
        if found.field.split("[")[0].split(".")[0] not in HARMLESS_SECTIONS and found.field not in HARMLESS_FIELDS:
            raise ConfigError(
                f"{given}: has changed since {run.last.directory} ran ({found}); run it anew, or name the folder instead"
            )


def _of_folder(label: str, folder: Path, registry: Registry) -> FoundRun:
    last = folder
    events = read_events(folder)
    if not events:
        last = _last_stage(folder)
        if not (folder / STUDENT).is_dir():
            raise ConfigError(
                f"{folder}: its recipe is not finished: there is no student yet; the same tide run goes on"
            )
    part = _part(last, registry, recipe=last != folder)
    return FoundRun(label=label, parts=_with_earlier(part, registry), student=folder / STUDENT)


def _last_stage(folder: Path) -> Path:
    """Return the folder of the stage whose student a recipe left behind."""
    stages = [path.parent for path in folder.glob(f"*/{STAGE}")]
    if not stages:
        raise CheckpointError(
            f"{folder}: holds no run: there is no events.jsonl, nor a recipe's stages; name the folder of a run that has finished"
        )
    config = _read(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    last = folder / Path(str(config.get("output", ""))).name
    if last not in stages:
        raise ConfigError(f"{folder}: its recipe is not finished; the same tide run goes on")
    return last


def _of_checkpoint(label: str, path: Path, registry: Registry) -> FoundRun:
    folder, step = path.parent.parent, int(_read(path / STATE)["step"])
    if path.parent.name != CHECKPOINTS or not read_events(folder):
        raise CheckpointError(f"{path}: does not lie in its run's folder any more, so that its cost is not known")
    part = _part(folder, registry, step=step)
    return FoundRun(label=label, parts=_with_earlier(part, registry), student=path / STUDENT)


def _with_earlier(last: Part, registry: Registry) -> list[Part]:
    """Add the stages that a stage was built on, and those that they were built on, in the order in which they ran."""
    found, waiting = {last.name: last}, list(last.built_on)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _part(last.directory.parent / name, registry)
            waiting += found[name].built_on
    return sorted(found.values(), key=lambda part: (part is last, moment(part.events[0])))


def _part(directory: Path, registry: Registry, *, step: int | None = None, recipe: bool = False) -> Part:
    events = read_events(directory)
    started = facts(events)
    if not started:
        raise ConfigError(f"{directory}: has not begun; {'the same tide run goes on' if recipe else 'run it first'}")
    config = run_from_record(started["config"], registry=registry)
    if step is None:
        _require_finished(directory, events, config.training.steps)
    stage = _read(directory / STAGE) if (directory / STAGE).is_file() else {}
    return Part(
        name=directory.name,
        directory=directory,
        config=config,
        started=started,
        events=events if step is None else _until(events, step),
        step=config.training.steps if step is None else step,
        built_on=list(stage.get("built_on", {})),
    )


def _require_finished(directory: Path, events: Sequence[Event], steps: int) -> None:
    for event in reversed(events):
        if event["event"] == "run_finished" and event["status"] == "finished" and event["step"] == steps:
            return
        if event["event"] in ("run_finished", "run_started"):
            break
    logged = [event["step"] for event in events if event["event"] == "metrics_logged"]
    at = (
        f"step {logged[-1]} of {steps} is the newest that it logged"
        if logged
        else f"none of its {steps} steps is logged"
    )
    raise ConfigError(
        f"{directory}: this run is not finished: {at}; the same tide run goes on, or name one of its checkpoints"
    )


def _until(events: Sequence[Event], step: int) -> Sequence[Event]:
    """Return the log up to a step's checkpoint, and what was evaluated at that very step."""
    places = [
        place for place, event in enumerate(events) if event["event"] == "checkpoint_saved" and event["step"] == step
    ]
    if not places:
        return events
    end = places[-1] + 1
    while end < len(events) and events[end]["event"] == "evaluation_finished" and events[end]["step"] == step:
        end += 1
    return events[:end]


def moment(event: Event) -> float:
    """When it happened, in Unix time."""
    return datetime.fromisoformat(event["time"]).timestamp()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    return record
