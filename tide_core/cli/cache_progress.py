"""How far ``tide cache build`` is: a live bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

import click

from .common import console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..recording.asking import Done

EVERY = 10.0
"""Seconds between two plain lines."""


class Display:
    """Says rows, rate and time left; both follow from tokens, since rows differ in length."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._spoke = time.monotonic()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.stop()

    def prepare(self, what: str, done: int, total: int | None) -> None:
        """Say that data is being prepared."""
        if self._due():
            self._say(f"{what}: {done:,}" + ("" if total is None else f" of {total:,}"))

    def report(self, done: Done) -> None:
        """Say how far the teacher is."""
        if not self._enabled:
            return
        line = progress_line(done)
        if console(error=True).is_terminal:
            self._draw(done, line)
        elif done.tokens == done.of_tokens or self._due():
            self._say(line)

    def _draw(self, done: Done, line: str) -> None:
        if self._bar is None or self._task is None:
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(BarColumn(), TextColumn("{task.description}"), console=console(error=True))
            self._task = self._bar.add_task("", total=done.of_tokens)
            self._bar.start()
        self._bar.update(self._task, completed=done.tokens, description=line)

    def _due(self) -> bool:
        if not self._enabled or time.monotonic() - self._spoke < EVERY:
            return False
        self._spoke = time.monotonic()
        return True

    def _say(self, line: str) -> None:
        click.echo(line, err=True)


def progress_line(done: Done) -> str:
    """``12 of 96 rows, 310 tokens/s, 4 min left``."""
    rate = done.tokens / max(done.seconds, 1e-9)
    from .matrix_display import duration

    left = (done.of_tokens - done.tokens) / rate
    head = f"{done.rows:,} of {done.of_rows:,} rows"
    return f"{head}, {rate:,.0f} tokens/s" + (f", {duration(left)} left" if left else "")
