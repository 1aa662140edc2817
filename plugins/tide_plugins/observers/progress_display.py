"""How progress looks: the text of a line, and the two listeners that show it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tide_specs import (
    CheckpointSaved,
    EvaluationFinished,
    MetricsLogged,
    RunFinished,
    RunStarted,
    StepFinished,
    hookimpl,
)

LOSS = "loss"
SPEED = "tokens_per_second"


def describe(metrics: Mapping[str, float]) -> str:
    """Return total loss, its terms and the speed, e.g. ``loss 2.310  cross_entropy 2.100  1,234 tokens/s``."""
    parts = [f"loss {metrics[LOSS]:.3f}"] if LOSS in metrics else []
    terms = {key.removeprefix("loss/"): value for key, value in metrics.items() if key.startswith("loss/")}
    parts += [f"{name} {value:.3f}" for name, value in terms.items()]
    if SPEED in metrics:
        parts.append(f"{metrics[SPEED]:,.0f} tokens/s")
    return "  ".join(parts)


def describe_evaluation(event: EvaluationFinished) -> str:
    """Return an evaluator's metrics on one line; where any has an interval, those without (mere counts) are left out."""
    metrics = event.evaluation.metrics
    bounded = {name: e for name, e in metrics.items() if e.low is not None and e.high is not None}
    parts = [f"{name} {e.value:.4g} [{e.low:.4g}, {e.high:.4g}]" for name, e in bounded.items()]
    parts = parts or [f"{name} {e.value:.4g}" for name, e in metrics.items()]
    return f"step {event.step}  {event.evaluator}: " + "  ".join(parts)


def describe_end(event: RunFinished) -> str:
    """Return how the run ended."""
    reason = f": {event.error}" if event.error else ""
    return f"run {event.status} at step {event.step}{reason}"


class Clock:
    """Estimates the time left from the mean pace since the run started or resumed."""

    def __init__(self, first_step: int) -> None:
        self._first_step = first_step
        self._started = time.monotonic()

    def left(self, step: int, total: int) -> str:
        """Return the time left as ``h:mm:ss``; ``?`` before anything is done."""
        done = step - self._first_step
        if done <= 0:
            return "?"
        seconds = (time.monotonic() - self._started) / done * max(0, total - step)
        return str(timedelta(seconds=round(seconds)))


class PlainLines:
    """Listener that prints one line per event."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clock = Clock(0)

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    @hookimpl
    def tide_run_started(self, event: RunStarted) -> None:
        """Say where the run starts and where its files lie."""
        self._clock = Clock(event.first_step)
        self._print(f"run {event.run_id}: steps {event.first_step}..{event.total_steps}, files in {event.directory}")

    @hookimpl
    def tide_metrics_logged(self, event: MetricsLogged) -> None:
        """Print an interval's means and the time left."""
        left = self._clock.left(event.step, event.total_steps)
        self._print(f"step {event.step}/{event.total_steps}  {describe(event.metrics)}  {left} left")

    @hookimpl
    def tide_evaluation_finished(self, event: EvaluationFinished) -> None:
        """Print an evaluator's metrics."""
        self._print(describe_evaluation(event))

    @hookimpl
    def tide_checkpoint_saved(self, event: CheckpointSaved) -> None:
        """Print where the checkpoint lies."""
        self._print(f"step {event.step}  checkpoint saved in {event.path}")

    @hookimpl
    def tide_run_finished(self, event: RunFinished) -> None:
        """Print how the run ended."""
        self._print(describe_end(event))


class LiveBar(PlainLines):
    """Listener that keeps a bar at the bottom of the terminal and prints evaluations above it."""

    def __init__(self, console: Console, refresh_per_second: float) -> None:
        super().__init__(console)
        self._bar = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]} left"),
            TextColumn("{task.description}", markup=False),
            console=console,
            refresh_per_second=refresh_per_second,
        )
        self._task: TaskID | None = None

    @hookimpl
    def tide_run_started(self, event: RunStarted) -> None:
        """Start the bar."""
        super().tide_run_started(event)
        self._task = self._bar.add_task("", total=event.total_steps, completed=event.first_step, left="?")
        self._bar.start()

    @hookimpl
    def tide_step_finished(self, event: StepFinished) -> None:
        """Move the bar; the refresh thread redraws it."""
        if self._task is not None:
            left = self._clock.left(event.step, event.total_steps)
            self._bar.update(self._task, completed=event.step, left=left)

    @hookimpl
    def tide_metrics_logged(self, event: MetricsLogged) -> None:
        """Show an interval's means behind the bar."""
        if self._task is not None:
            self._bar.update(self._task, completed=event.step, description=describe(event.metrics))

    @hookimpl
    def tide_run_finished(self, event: RunFinished) -> None:
        """Take the bar down and say how the run ended."""
        self._bar.stop()
        super().tide_run_finished(event)


def open_display(style: str, refresh_per_second: float, console: Console | None = None) -> object:
    """Return the listener for a style; ``auto`` looks at the console."""
    console = console or Console(stderr=True)
    live = console.is_terminal if style == "auto" else style == "live"
    return LiveBar(console, refresh_per_second) if live else PlainLines(console)
