"""The stages of a recipe, one after another; a stage that is finished is not run again.

``<output>/<stage>/`` is an ordinary run. ``stage.json`` beside it says what the stage was built on, and that it is done.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tide_core.assembly import Progress, build_accelerator
from tide_core.checkpoints import newest_checkpoint
from tide_core.config import config_record
from tide_core.registry import Registry
from tide_core.resume import find_checkpoint
from tide_core.run_schema import RunConfig
from tide_core.yaml_source import Source
from tide_specs import Architecture, ConfigError, Stage

from .staging import folder_of, staged_run, stages_of

if TYPE_CHECKING:
    from tide_core.run import Outcome

RECORD = "stage.json"


def run_stages(
    config: RunConfig,
    registry: Registry,
    *,
    resume: bool = True,
    allow_changes: bool = False,
    progress: Progress | None = None,
    source: Source | None = None,
) -> Outcome:
    """Run what is left of a recipe's stages and keep the last one's student in ``<output>/student``.

    source: the run file, beside which changes look for files. Raises ``ConfigError`` when a stage was trained on what another configuration made, and what ``run`` raises.
    """
    from tide_core.run import Outcome, run

    assert config.recipe is not None
    stages = stages_of(config.recipe)
    models: dict[str, Architecture] = {}
    identities: dict[str, str] = {}
    outcome: Outcome | None = None
    step = 0
    for number, stage in enumerate(stages):
        own = staged_run(config, stage, number, models, registry, source).config
        accelerator = build_accelerator(own)
        built_on = {name: identities[name] for name in (stage.student, stage.teacher) if name is not None}
        done = _finished(own, stage, built_on, allow_changes=allow_changes)
        accelerator.wait_for_everyone()  # all have read what the first process is about to write
        if not done:
            if accelerator.is_main_process:
                _write(own, built_on=built_on, finished=False)
            outcome = run(own, registry, resume=resume, allow_changes=allow_changes, progress=progress)
            if outcome.status != "finished":
                return outcome
            if accelerator.is_main_process:
                _write(own, built_on=built_on, finished=True)
            accelerator.wait_for_everyone()
        step = own.training.steps
        models[stage.name] = own.student.saved_at(str(folder_of(config, stage.name) / "student"))
        identities[stage.name] = _identity(own)
        _let_go()
    last = folder_of(config, stages[-1].name)
    accelerator = build_accelerator(config)
    if accelerator.is_main_process:
        _keep(Path(config.output), last)
    accelerator.wait_for_everyone()
    return Outcome(
        status="finished",
        step=step,
        directory=Path(config.output),
        student=Path(config.output) / "student",
        evaluations=outcome.evaluations if outcome else {},
    )


def _finished(config: RunConfig, stage: Stage, built_on: dict[str, str], *, allow_changes: bool) -> bool:
    """Whether a stage need not run again. Raises ``ConfigError`` when it was built on another student than there is now."""
    record = _read(config)
    checkpoint = newest_checkpoint(Path(config.output) / "checkpoints")
    if record is None or checkpoint is None:
        return False
    if record["built_on"] != built_on:
        others = ", ".join(name for name in built_on if record["built_on"].get(name) != built_on[name])
        raise ConfigError(
            f"{config.output}: was trained on what stage {others or stage.name} made before it ran again; delete "
            f"{config.output}, or choose another output:"
        )
    find_checkpoint(Path(config.output), config_record(config), resume=True, allow_changes=allow_changes)
    return bool(record["finished"]) and checkpoint.step == config.training.steps


def _identity(config: RunConfig) -> str:
    """Which student a stage made: the run and the step that it was saved at."""
    newest = newest_checkpoint(Path(config.output) / "checkpoints")
    assert newest is not None  # the loop saves after its last step
    return f"{newest.state['run_id']} step {newest.step}"


def _read(config: RunConfig) -> dict[str, Any] | None:
    path = Path(config.output) / RECORD
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); delete it, and the stage is looked at again") from error


def _write(config: RunConfig, *, built_on: dict[str, str], finished: bool) -> None:
    path = Path(config.output) / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"built_on": built_on, "finished": finished}, indent=1), encoding="utf-8")
    os.replace(partial, path)


def _keep(directory: Path, last: Path) -> None:
    """Copy the last stage's student, complete or not at all, with the configuration of the run that made it."""
    partial, final = directory / ".partial-student", directory / "student"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(last / "student", partial)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    shutil.copyfile(last / "config.json", directory / "config.json")


def _let_go() -> None:
    """Give the models of a stage back before the next one loads its own."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
