"""Checks of observers, on the events of whole runs. Needs no torch."""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import contextlib
import difflib
import inspect
import io
import math
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pluggy

from tide_specs.evaluator import Estimate, Evaluation
from tide_specs.events import CheckpointSaved, EvaluationFinished, MetricsLogged, RunFinished, RunStarted, StepFinished
from tide_specs.hooks import PROJECT, LifecycleHooks
from tide_specs.observer import Observer
from tide_specs.testing.outcome import CheckFailed, expect

HOOKS = tuple(name for name in vars(LifecycleHooks) if name.startswith("tide_"))


def run_events(directory: str, *, first_step: int = 0, fails: bool = False) -> list[tuple[str, Any]]:
    """Return the events of one short run, in order: hook name and event."""
    metrics = {"loss": 2.5, "loss/cross_entropy": math.nan, "tokens_per_second": 1e4, "learning_rate": 5e-5}
    evaluation = Evaluation(
        metrics={"bits_per_byte": Estimate(value=1.5, low=1.4, high=1.6), "accuracy (%)": Estimate(value=0.0)},
        tables={"worst": [{"text": 'naïve, "quoted"', "bits": 3.0}]},
        per_example={"bits_per_byte": [1.0, 2.0]},
    )
    started = RunStarted(
        run_id="run-1",
        directory=directory,
        config={"training": {"steps": 4}, "losses": [{"name": "cross_entropy"}]},
        facts={"parameters": 10, "data": "abc", "torch": "2.9"},
        components=[
            {"kind": "loss", "name": "cross_entropy", "version": 1, "distribution": "x", "distribution_version": "1"}
        ],
        total_steps=4,
        first_step=first_step,
    )
    events: list[tuple[str, Any]] = [("tide_run_started", started)]
    for step in range(first_step + 1, 5):
        events.append(("tide_step_finished", StepFinished(step=step, total_steps=4)))
        events.append(("tide_metrics_logged", MetricsLogged(step=step, total_steps=4, metrics=metrics)))
    checkpoint = Path(directory) / "checkpoint"
    checkpoint.mkdir(exist_ok=True)
    (checkpoint / "config.json").write_text("{}")
    events.append(("tide_checkpoint_saved", CheckpointSaved(step=4, path=str(checkpoint))))
    events.append(
        ("tide_evaluation_finished", EvaluationFinished(step=4, evaluator="bits_per_byte", evaluation=evaluation))
    )
    artifacts = {"config": str(checkpoint / "config.json")}
    status, error = ("failed", "out of memory") if fails else ("finished", None)
    events.append(("tide_run_finished", RunFinished(status=status, step=4, error=error, artifacts=artifacts)))
    return events


@contextlib.contextmanager
def workplace() -> Generator[str]:
    """Change into an empty directory and yield the run's directory inside another one."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as elsewhere, tempfile.TemporaryDirectory() as directory:
        os.chdir(elsewhere)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                yield directory
        finally:
            os.chdir(before)


def send(listener: object, events: list[tuple[str, Any]]) -> None:
    """Call the listener's hooks as the core does, through pluggy; raise what it raises."""
    manager = _manager(listener)
    for hook, event in events:
        getattr(manager.hook, hook)(event=event)


def _manager(listener: object) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(LifecycleHooks)
    manager.register(listener)
    return manager


def exercise(observer: Observer) -> None:
    """Observe one run."""
    with workplace() as directory:
        send(observer.open(directory), run_events(directory))


def check_hooks_exist(observer: Observer) -> None:
    """The listener implements at least one lifecycle hook, and each ``tide_`` method is one, marked and spelt right."""
    with workplace() as directory:
        listener = observer.open(directory)
        marked = 0
        for name in dir(listener):
            if not name.startswith("tide_"):
                continue
            close = difflib.get_close_matches(name, HOOKS, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            expect(name in HOOKS, f"{name} is no lifecycle hook{hint}, so it would never be called.")
            method: Any = getattr(listener, name)
            expect(
                getattr(method, f"{PROJECT}_impl", None) is not None,
                f"{name} lacks @hookimpl, so it would never be called.",
            )
            extra = set(inspect.signature(method).parameters) - {"event"}
            expect(not extra, f"{name} takes {sorted(extra)}; a lifecycle hook takes event and nothing else.")
            marked += 1
        expect(marked, f"the object that open() returns implements no hook; implement one of {', '.join(HOOKS)}.")
        send(listener, run_events(directory)[-1:])


def check_observes_whole_runs(observer: Observer) -> None:
    """It survives runs that finish, fail or resume, odd metric names and values that are not numbers."""
    runs: dict[str, dict[str, Any]] = {"finishes": {}, "fails": {"fails": True}, "resumes": {"first_step": 2}}
    for what, options in runs.items():
        with workplace() as directory:
            try:
                send(observer.open(directory), run_events(directory, **options))
            except Exception as error:
                raise CheckFailed(
                    f"observing a run that {what} raises {type(error).__name__}: {error}; a run goes on without an observer that "
                    "raises, so handle this event (metrics may be NaN, a run may fail or resume)."
                ) from error


def check_survives_an_early_end(observer: Observer) -> None:
    """A run may end right after it started, or before."""
    with workplace() as directory:
        events = run_events(directory, fails=True)
        for chosen in ([events[0], events[-1]], [events[-1]]):
            try:
                send(observer.open(directory), chosen)
            except Exception as error:
                raise CheckFailed(
                    f"a run that ends before its first step makes the observer raise {type(error).__name__}: {error}; "
                    "let tide_run_finished work when little or nothing came before it."
                ) from error


def check_writes_into_the_run_directory(observer: Observer) -> None:
    """Files go into the directory given to ``open``, not into the current one."""
    with workplace() as directory:
        send(observer.open(directory), run_events(directory))
        stray = sorted(os.listdir("."))
        expect(
            not stray,
            f"the observer writes {', '.join(stray)} into the current directory; write into the run's directory.",
        )


def check_runs_are_separate(observer: Observer) -> None:
    """Two listeners opened from one component do not disturb each other."""
    with workplace() as first, workplace() as second:
        one, two = observer.open(first), observer.open(second)
        expect(one is not two, "open() returns the same object for two runs; return a new listener for each.")
        for (hook, a), (_, b) in zip(run_events(first), run_events(second), strict=True):
            send(one, [(hook, a)])
            send(two, [(hook, b)])
        expect(
            sorted(os.listdir(first)) == sorted(os.listdir(second)),
            f"two runs at once leave different files: {sorted(os.listdir(first))} and {sorted(os.listdir(second))}; keep what "
            "belongs to a run on the listener.",
        )
