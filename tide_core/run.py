"""``run``: everything that happens between a valid run file and a trained student."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from accelerate import Accelerator

from tide_core import __version__
from tide_core.assembly import (
    Progress,
    build_accelerator,
    describer,
    load_model,
    load_tokenizers,
    method_of,
    prepare_split,
    save_student,
)
from tide_core.blame import Describe
from tide_core.checkpoints import Checkpoint, newest_checkpoint, restore_training_state
from tide_core.config import config_record, differences
from tide_core.data import PreparedData
from tide_core.distillation import Distillation
from tide_core.evaluation import HeldOut, evaluate_all
from tide_core.feeder import Feeder, Share, joiner
from tide_core.loop import Loop, inner
from tide_core.model_card import write_model_card
from tide_core.observing import Observers
from tide_core.parallel import Engine, build_engine
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_specs import (
    Component,
    ConfigError,
    Denoiser,
    Evaluation,
    EvaluationFinished,
    Observer,
    RunFinished,
    RunStarted,
    RunStatus,
)

ALWAYS = ("jsonl",)
"""Observers that every run has, so that nothing is lost when a tracking server dies."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended. ``student`` is the directory of the trained model; ``evaluations`` those of the last step."""

    status: RunStatus
    step: int
    directory: Path
    student: Path | None
    evaluations: Mapping[str, Evaluation]


@dataclass(kw_only=True)
class _Evaluations:
    """Evaluates when due and remembers the newest results."""

    config: RunConfig
    engine: Engine
    teacher: Denoiser | None
    held_out: HeldOut | None
    observers: Observers
    describe: Describe
    latest: dict[str, Evaluation] = field(default_factory=dict)

    def __call__(self, step: int, last: bool) -> None:
        due = [e for e in self.config.evaluation if last or (e.every and step % e.every == 0)]
        if not due or self.held_out is None:
            return
        with self.engine.whole():
            results = evaluate_all(due, self.engine.module.student, self.teacher, self.held_out, self.describe)
        for name, evaluation in results.items():
            self.latest[name] = evaluation
            self.observers.send(EvaluationFinished(step=step, evaluator=name, evaluation=evaluation))


def run(
    config: RunConfig,
    registry: Registry,
    *,
    resume: bool = True,
    allow_changes: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train the student of ``config``; resumes from the newest checkpoint of its output directory.

    Raises ``ConfigError`` when the directory holds a run with another configuration (unless ``allow_changes``), and the
    errors of ``tide_specs.errors`` as their parts arise. An interrupted run returns with status ``"interrupted"``.
    """
    directory, record, describe = Path(config.output), config_record(config), describer(registry)
    _require_writable(directory)
    accelerator = build_accelerator(config)
    main = accelerator.is_main_process
    checkpoint = _find_checkpoint(directory, record, resume, allow_changes)
    tokenizers = load_tokenizers(config, describe)
    cache = directory.parent / ".tide-cache"
    data = prepare_split(config, "train", tokenizers, cache, describe, progress if main else None)
    held_out_data = prepare_split(config, "evaluation", tokenizers, cache, describe) if config.evaluation else None

    torch.manual_seed(config.training.seed)
    teacher = load_model(config, "teacher", accelerator.device, describe) if config.teacher else None
    student = load_model(config, "student", accelerator.device, describe)
    module = Distillation(
        student,
        teacher,
        method_of(config, describe),
        columns=tokenizers.columns,
        slice_elements=config.training.slice_elements,
    ).to(accelerator.device)
    engine = build_engine(accelerator, module, config.training)
    if checkpoint is not None:
        restore_training_state(module, inner(engine.optimizer), checkpoint)

    observers = Observers(_observers(config, registry), lambda o: describe(o), enabled=main)
    held_out = _held_out(config, held_out_data, tokenizers.columns, accelerator, student, teacher)
    evaluations = _Evaluations(
        config=config, engine=engine, teacher=teacher, held_out=held_out, observers=observers, describe=describe
    )
    facts = _facts(data, held_out_data, student, teacher)
    components = component_records(config, registry)
    share = Share(
        batch_size=config.training.batch_size,
        accumulate=config.training.accumulate,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    steps, first_step = config.training.steps, checkpoint.step if checkpoint else 0
    feeder = Feeder(data, joiner(student, teacher), share, module, seed=config.training.seed, last_step=steps)
    state = {"config": record, "facts": facts, "components": components, "tide": __version__}
    loop = Loop(
        engine=engine,
        feeder=feeder,
        training=config.training,
        observers=observers,
        directory=directory,
        checkpoint_state=state,
        evaluate=evaluations,
        save_student=partial(save_student, config, engine, describe),
    )
    started = RunStarted(
        run_id=checkpoint.state["run_id"] if checkpoint else uuid4().hex,
        directory=str(directory),
        config=record,
        facts=facts,
        components=components,
        total_steps=steps,
        first_step=first_step,
    )
    state["run_id"] = started.run_id
    with _lifecycle(observers, started, directory, main) as ending, contextlib.closing(feeder):
        status, step = loop.run(first_step)
        path = directory / "student" if status == "finished" else None
        if main and path is not None:
            # The last checkpoint holds the finished student already, gathered from all processes.
            newest = newest_checkpoint(directory / "checkpoints")
            assert newest is not None
            shutil.copytree(newest.path / "student", path, dirs_exist_ok=True)
            write_model_card(path, state, evaluations.latest, step)
            ending.artifacts["student"] = str(path)
        ending.status, ending.step = status, step
    accelerator.wait_for_everyone()
    return Outcome(status=status, step=step, directory=directory, student=path, evaluations=evaluations.latest)


@dataclass(kw_only=True)
class _Ending:
    status: RunStatus = "failed"
    step: int = 0
    artifacts: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def _lifecycle(observers: Observers, started: RunStarted, directory: Path, main: bool) -> Iterator[_Ending]:
    """Tell observers that the run began, and, however it ends, that it is over."""
    if main:
        (directory / "config.json").write_text(json.dumps(started.config, indent=1))
    observers.send(started)
    ending = _Ending(step=started.first_step)
    try:
        yield ending
    except BaseException as error:
        message = str(error) or type(error).__name__
        interrupted = isinstance(error, KeyboardInterrupt)
        observers.send(RunFinished(status="interrupted" if interrupted else "failed", step=ending.step, error=message))
        raise
    observers.send(RunFinished(status=ending.status, step=ending.step, artifacts=ending.artifacts))


def _require_writable(directory: Path) -> None:
    """Create the run's folder, or say why there cannot be one."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ConfigError(
            f"output: {directory}: cannot be written ({error.strerror}); choose another folder with output: or "
            "--set output=DIR"
        ) from error


def _find_checkpoint(
    directory: Path, record: Mapping[str, Any], resume: bool, allow_changes: bool
) -> Checkpoint | None:
    checkpoint = newest_checkpoint(directory / "checkpoints")
    if checkpoint is None:
        return None
    if not resume:
        raise ConfigError(
            f"{directory} already holds a run (checkpoint of step {checkpoint.step}); resume it, delete it, or choose "
            "another place with output: or --set output=DIR"
        )
    changed = [str(d) for d in differences(checkpoint.state["config"], record) if not _harmless(d.field)]
    if changed and not allow_changes:
        raise ConfigError(
            f"{directory} holds a run with another configuration (checkpoint of step {checkpoint.step}):\n  "
            + "\n  ".join(changed)
            + "\nUndo the change, choose another output:, or resume all the same with --allow-changes."
        )
    return checkpoint


def _harmless(path: str) -> bool:
    """Whether a change of this field cannot change what the run computes."""
    return path.split("[")[0].split(".")[0] in {"observers", "output", "allow", "evaluation"} or path in {
        "training.log_every",
        "training.checkpoint_every",
        "training.keep_checkpoints",
        "training.workers",
        "training.device",
    }


def _observers(config: RunConfig, registry: Registry) -> list[Observer]:
    named = {observer.name for observer in config.observers}
    return [*(registry.build("observer", name) for name in ALWAYS if name not in named), *config.observers]


def _held_out(
    config: RunConfig,
    data: PreparedData | None,
    columns: Any,
    accelerator: Accelerator,
    student: Denoiser,
    teacher: Denoiser | None,
) -> HeldOut | None:
    if data is None:
        return None
    return HeldOut(
        dataset=config.data,
        data=data,
        join=joiner(student, teacher),
        seed=config.training.seed,
        device=accelerator.device,
        columns=columns,
    )


def component_records(config: RunConfig, registry: Registry) -> list[dict[str, Any]]:
    """One record per component of a run: kind, name, version, plugin, distribution and its version."""
    records: list[dict[str, Any]] = []
    for value in (getattr(config, name) for name in type(config).model_fields):
        for component in value if isinstance(value, tuple) else (value,):
            if isinstance(component, Component):
                origin = registry.origin(component)
                records.append(
                    {
                        "kind": component.kind,
                        "name": component.name,
                        "version": component.version,
                        "plugin": origin.plugin,
                        "distribution": origin.distribution,
                        "distribution_version": origin.version,
                    }
                )
    return records


def _facts(
    data: PreparedData, held_out: PreparedData | None, student: Denoiser, teacher: Denoiser | None
) -> dict[str, Any]:
    packages = ("torch", "transformers", "accelerate", "pydantic", "pluggy", "numpy")
    return {
        "data": data.fingerprint,
        "data_report": data.report.as_dict(),
        "evaluation_data": held_out.fingerprint if held_out else None,
        "student": student.facts(),
        "teacher": teacher.facts() if teacher else None,
        "versions": {"tide": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "host_threads": os.cpu_count(),
    }
