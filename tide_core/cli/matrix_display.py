"""How ``tide matrix run`` says what its cells do: a line for each event, and on a terminal a bar for each running cell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

if TYPE_CHECKING:
    from ..matrix.cells import Cell
    from ..matrix.results import CellResult

REFRESH_SECONDS = 1.0


class Display:
    """Watches the engine; everything goes to stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._running: dict[str, tuple[Cell, TaskID]] = {}
        self._all: TaskID | None = None
        self._looked = 0.0

    def __enter__(self) -> Display:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take them away."""
        self._bars.stop()

    def started(self, cell: Cell, attempt: int) -> None:
        """Say that a cell was started."""
        again = f" (attempt {attempt})" if attempt > 1 else ""
        self._say(f"{cell.id}: started{again}, log: {cell.directory}/log.txt")
        self._running[cell.id] = cell, self._bars.add_task(cell.id, total=cell.config.training.steps)

    def ended(self, cell: Cell, result: CellResult, done: int, total: int) -> None:
        """Say how a cell ended."""
        told = f"finished in {duration(result.seconds)}" if result.status == "finished" else f"failed: {result.reason}"
        self._say(f"[{done}/{total}] {cell.id}: {told}")
        self._remove(cell)
        if self._all is None:
            self._all = self._bars.add_task("cells", total=total)
        self._bars.update(self._all, completed=done)

    def died(self, cell: Cell, reason: str) -> None:
        """Say why a cell is started again."""
        self._say(f"{cell.id}: will be started again: {reason}")
        self._remove(cell)

    def idle(self) -> None:
        """Look how far the running cells are."""
        from ..matrix.recording import last_step

        if self._bars.disable or time.monotonic() - self._looked < REFRESH_SECONDS:
            return
        self._looked = time.monotonic()
        for cell, task in self._running.values():
            step = last_step(cell.directory)
            if step is not None:
                self._bars.update(task, completed=step)

    def stopping(self, count: int) -> None:
        """Say what is waited for."""
        self._say(f"stopping {count} {'cell' if count == 1 else 'cells'}, which may save a checkpoint")

    def _remove(self, cell: Cell) -> None:
        _, task = self._running.pop(cell.id)
        self._bars.remove_task(task)

    def _say(self, text: str) -> None:
        self._console.print(Text(text.replace("\n", "\n    ")))


def duration(seconds: float) -> str:
    """``3725`` -> ``1 h 2 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
