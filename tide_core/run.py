"""``run``: everything that happens between a valid run file and a trained student."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from accelerate import Accelerator

from tide_core import __version__
from tide_core.assembly import (
    Progress,
    Tokenizers,
    build_accelerator,
    describer,
    load_all_tokenizers,
    load_distillation,
    prepare_for_all,
    save_student,
)
from tide_core.blame import Describe
from tide_core.checkpoints import Checkpoint, newest_checkpoint, restore_average, restore_training_state
from tide_core.config import config_record
from tide_core.data import PreparedData
from tide_core.distillation import Distillation
from tide_core.evaluation import HeldOut, evaluate_all
from tide_core.feeder import Feeder, Share, joiners
from tide_core.held_out import held_out_seats
from tide_core.loop import Loop, inner
from tide_core.model_card import write_model_card
from tide_core.observing import Observers
from tide_core.parallel import Engine, build_engine
from tide_core.recording.identity import noise_draws
from tide_core.recording.reading import cached_teachers
from tide_core.registry import Registry
from tide_core.resume import find_checkpoint, require_same_work
from tide_core.run_records import component_records, run_facts
from tide_core.run_schema import RunConfig
from tide_core.yaml_source import Source
from tide_specs import (
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


def run(
    config: RunConfig,
    registry: Registry,
    *,
    resume: bool = True,
    allow_changes: bool = False,
    progress: Progress | None = None,
    source: Source | None = None,
) -> Outcome:
    """Train the student of ``config``, stage by stage where it has a recipe.

    Resumes from the newest checkpoint of its output directory.

    Raises ``ConfigError`` when the directory holds a run with another configuration (unless ``allow_changes``), and the
    errors of ``tide_specs.errors`` as their parts arise. An interrupted run returns with status ``"interrupted"``. source:
    the run file, beside which a recipe's changes look for files.
    """
    if config.recipe is not None:
        from tide_core.recipes.running import run_stages

        return run_stages(
            config, registry, resume=resume, allow_changes=allow_changes, progress=progress, source=source
        )
    directory, record, describe = Path(config.output), config_record(config), describer(registry)
    _require_writable(directory)
    checkpoint = find_checkpoint(directory, record, resume=resume, allow_changes=allow_changes)
    accelerator = build_accelerator(config)
    tokenizers = load_all_tokenizers(config, describe)
    inputs = _prepare(config, tokenizers, describe, progress if accelerator.is_main_process else None)
    recorded = cached_teachers(config, tokenizers, inputs.train, describe)

    module = load_distillation(config, accelerator.device, tokenizers, describe, recorded)
    engine = build_engine(accelerator, module, config.training)
    observers = Observers(_observers(config, registry), describe, enabled=accelerator.is_main_process)
    seats = _seats(config, inputs, tokenizers, module, accelerator, registry)
    evaluations = _Evaluations(config, engine, seats, observers, describe)
    share = _share(config, accelerator)
    state = {
        "run_id": checkpoint.state["run_id"] if checkpoint else uuid4().hex,
        "config": record,
        "facts": run_facts(inputs.train, inputs.evaluation, module.student, module.teachers),
        "components": component_records(config, registry),
        "effective_batch_size": share.effective_batch_size,
        "noise_draws": noise_draws(config),
        "tide": __version__,
    }
    if checkpoint is not None:
        require_same_work(checkpoint, state, allow_changes=allow_changes)
        restore_training_state(module, inner(engine.optimizer), checkpoint)
        restore_average(module, engine.average, checkpoint)
    loop = Loop(
        engine=engine,
        feeder=_feeder(config, inputs.train, share, module),
        training=config.training,
        observers=observers,
        directory=directory,
        checkpoint_state=state,
        evaluate=evaluations,
        save_student=partial(save_student, config, engine, describe),
    )
    return _train(loop, checkpoint, evaluations)


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """Encoded data; ``evaluation`` only when something is evaluated."""

    train: PreparedData
    evaluation: PreparedData | None


def _prepare(
    config: RunConfig, tokenizers: Sequence[Tokenizers], describe: Describe, progress: Progress | None
) -> _Inputs:
    cache = Path(config.output).parent / ".tide-cache"
    train = prepare_for_all(config, "train", tokenizers, cache, describe, progress)
    evaluation = prepare_for_all(config, "evaluation", tokenizers, cache, describe) if config.evaluation else None
    return _Inputs(train=train, evaluation=evaluation)


def _share(config: RunConfig, accelerator: Accelerator) -> Share:
    return Share(
        batch_size=config.training.batch_size,
        accumulate=config.training.accumulate,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
    )


def _feeder(config: RunConfig, data: PreparedData, share: Share, module: Distillation) -> Feeder:
    training = config.training
    return Feeder(
        data,
        joiners(module),
        share,
        module,
        seed=training.seed,
        last_step=training.steps,
        noise_draws=noise_draws(config),
    )


def _seats(
    config: RunConfig,
    inputs: _Inputs,
    tokenizers: Sequence[Tokenizers],
    module: Distillation,
    accelerator: Accelerator,
    registry: Registry,
) -> list[tuple[Denoiser | None, HeldOut]]:
    """Return the teachers with their held-out data; none where nothing is evaluated."""
    if inputs.evaluation is None:
        return []
    teachers = [lesson.teacher for lesson in module.method.lessons]
    device = accelerator.device
    return held_out_seats(config, inputs.evaluation, tokenizers, module.student, teachers, device, registry)


def _observers(config: RunConfig, registry: Registry) -> list[Observer]:
    named = {observer.name for observer in config.observers}
    return [*(registry.build("observer", name) for name in ALWAYS if name not in named), *config.observers]


@dataclass
class _Evaluations:
    """Evaluates when due and remembers the newest results."""

    config: RunConfig
    engine: Engine
    held_out: Sequence[tuple[Denoiser | None, HeldOut]]
    observers: Observers
    describe: Describe
    latest: dict[str, Evaluation] = field(default_factory=dict)

    def __call__(self, step: int, last: bool) -> None:
        due = [e for e in self.config.evaluation if last or (e.every and step % e.every == 0)]
        if not due or not self.held_out:
            return
        with self.engine.averaged(), self.engine.whole():
            results = evaluate_all(due, self.engine.module.student, self.held_out, self.describe)
        for name, evaluation in results.items():
            self.latest[name] = evaluation
            self.observers.send(EvaluationFinished(step=step, evaluator=name, evaluation=evaluation))


def _train(loop: Loop, checkpoint: Checkpoint | None, evaluations: _Evaluations) -> Outcome:
    """Run the loop between its first and its last event, and keep the student."""
    directory, state, main = loop.directory, loop.checkpoint_state, loop.accelerator.is_main_process
    started = RunStarted(
        run_id=state["run_id"],
        directory=str(directory),
        config=state["config"],
        facts=state["facts"],
        components=state["components"],
        total_steps=loop.training.steps,
        first_step=checkpoint.step if checkpoint else 0,
    )
    with _lifecycle(loop.observers, started, directory, main) as ending, contextlib.closing(loop.feeder):
        status, step = loop.run(started.first_step)
        student = directory / "student" if status == "finished" else None
        if main and student is not None:
            _keep_student(student, directory, state, evaluations.latest, step)
            ending.artifacts["student"] = str(student)
        ending.status, ending.step = status, step
    loop.accelerator.wait_for_everyone()
    return Outcome(status=status, step=step, directory=directory, student=student, evaluations=evaluations.latest)


def _keep_student(
    path: Path, directory: Path, state: Mapping[str, Any], evaluations: Mapping[str, Evaluation], step: int
) -> None:
    """Copy the student out of the last checkpoint, where it lies gathered from all processes, and describe it."""
    newest = newest_checkpoint(directory / "checkpoints")
    assert newest is not None  # the loop saves after its last step
    shutil.copytree(newest.path / "student", path, dirs_exist_ok=True)
    write_model_card(path, state, evaluations, step)


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
