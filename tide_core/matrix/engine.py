"""Running the cells of a matrix: what is to do, on which launcher, and what becomes of a cell that dies. No torch."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tide_core.config import config_record
from tide_core.run_schema import RunConfig
from tide_specs import Job, LaunchSession, RunningJob

from .cell_process import JOB, REFUSED
from .cells import Cell, Matrix
from .forwards import forwards
from .results import FAILURE, LOG, CellResult, load_result, write_record
from .schema import MatrixFile

POLL_SECONDS = 0.1
TAIL_LINES, TAIL_BYTES = 12, 20_000
ATTEMPT = "--- attempt"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


class Watch(Protocol):
    """Who is told how the work goes on."""

    def started(self, cell: Cell, attempt: int) -> None:
        """A cell's process was started, or queued."""

    def ended(self, cell: Cell, result: CellResult, done: int, total: int) -> None:
        """A cell is finished, or has failed for good; so are ``done`` of the ``total`` cells of this call."""

    def died(self, cell: Cell, reason: str) -> None:
        """A cell's process died; it will be started again."""

    def idle(self) -> None:
        """Nothing has happened; called several times a second."""

    def stopping(self, count: int) -> None:
        """So many cells are told to stop."""


@dataclass(kw_only=True)
class _Running:
    cell: Cell
    job: RunningJob
    attempt: int
    began: float


@dataclass(kw_only=True)
class Engine:
    """Starts cells until all are finished or have failed.

    plugins: files that every process loads; part: makes of a cell's run what its process is given.
    """

    matrix: Matrix
    options: MatrixFile
    plugins: Sequence[str]
    watch: Watch
    part: Callable[[RunConfig], RunConfig]
    _running: list[_Running] = field(default_factory=list, init=False)
    _waiting: deque[tuple[Cell, int]] = field(default_factory=deque, init=False)
    _spent: dict[str, float] = field(default_factory=dict, init=False)
    _done: int = field(default=0, init=False)

    def run(self) -> Generator[CellResult]:
        """Run every possible cell that is not finished; cells that failed in an earlier call are tried again.

        Yields a cell as soon as it is finished or has failed for good. Raises ``UnavailableError`` when the launcher
        cannot serve. Jobs are stopped whatever ends this call.
        """
        todo = [cell for cell in self.matrix.cells if cell.possible and load_result(cell).status != "finished"]
        if not todo:
            return
        self._waiting.extend((cell, 1) for cell in todo)
        workers = min(self.options.workers, len(todo))
        with _terminable():
            session = self.options.launcher.open(workers=workers, directory=str(self.matrix.directory))
            try:
                yield from self._work(session, workers, len(todo))
            finally:
                if self._running:
                    self.watch.stopping(len(self._running))
                session.close()

    def _work(self, session: LaunchSession, workers: int, total: int) -> Iterator[CellResult]:
        while self._waiting or self._running:
            while self._waiting and len(self._running) < workers:
                self._start(session, *self._waiting.popleft())
            ended = [(running, status) for running in self._running if (status := running.job.poll()) is not None]
            for running, status in ended:
                self._running.remove(running)
                result = self._end(running, status)
                if result is not None:
                    self._done += 1
                    self.watch.ended(running.cell, result, self._done, total)
                    yield result
            if not ended:
                self.watch.idle()
                time.sleep(POLL_SECONDS)

    def _start(self, session: LaunchSession, cell: Cell, attempt: int) -> None:
        cell.directory.mkdir(parents=True, exist_ok=True)
        (cell.directory / FAILURE).unlink(missing_ok=True)
        write_record(cell.directory / JOB, self._record(cell))
        log = cell.directory / LOG
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"{ATTEMPT} {attempt}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        job = Job(
            name=f"{self.matrix.directory.name}/{cell.id}",
            command=[sys.executable, "-m", "tide_core.matrix.cell_process", str(cell.directory.resolve())],
            directory=os.getcwd(),
            log=str(log.resolve()),
            environment=dict.fromkeys(THREAD_VARIABLES, str(self.threads)) | {"TOKENIZERS_PARALLELISM": "false"},
            threads=self.threads,
        )
        running = session.start(job)
        self._running.append(_Running(cell=cell, job=running, attempt=attempt, began=time.monotonic()))
        self.watch.started(cell, attempt)

    @property
    def threads(self) -> int:
        """Cores of one cell: as asked for, or this process's own shared among the workers."""
        return self.options.threads or max(1, len(os.sched_getaffinity(0)) // self.options.workers)

    def _record(self, cell: Cell) -> Mapping[str, Any]:
        teacher, student = forwards(cell.config)
        return {
            "identity": cell.identity,
            "labels": dict(cell.labels),
            "config": config_record(self.part(cell.config)),
            "plugins": [str(Path(plugin).resolve()) for plugin in self.plugins],
            "threads": self.threads,
            "teacher_forwards": teacher,
            "student_forwards": student,
        }

    def _end(self, running: _Running, status: int) -> CellResult | None:
        """Return what became of a cell, ``None`` when it is to be started again."""
        cell, attempt = running.cell, running.attempt
        self._spent[cell.id] = self._spent.get(cell.id, 0.0) + time.monotonic() - running.began
        result = load_result(cell)
        if result.status == "finished":
            return result
        reason = reason_of(status, cell.directory / LOG)
        if status != REFUSED and attempt <= self.options.retries:
            self.watch.died(cell, reason)
            self._waiting.append((cell, attempt + 1))
            return None
        first, *more = reason.split("\n")
        tries = "" if attempt == 1 else f" (attempt {attempt} of {attempt})"
        record = {"reason": "\n".join([f"{first}{tries}", *more]), "status": status, "attempts": attempt}
        write_record(cell.directory / FAILURE, {**record, "seconds": self._spent[cell.id]})
        return load_result(cell)


def reason_of(status: int, log: Path) -> str:
    """Say how a process ended, followed by the last lines of its log."""
    if status == -signal.SIGKILL:
        first = "its process was killed, most likely because memory ran out"
    elif status < 0:
        first = f"its process was ended by signal {-status} ({signal.Signals(-status).name})"
    else:
        error = "its run ended with an error that would come again"
        first = error if status == REFUSED else f"its process ended with status {status}"
    return "\n".join([first, *last_lines(log)])


def last_lines(log: Path) -> list[str]:
    """Return what the newest attempt wrote last."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    begins = [number for number, line in enumerate(lines) if line.startswith(ATTEMPT)]
    written = [line for line in lines[begins[-1] + 1 if begins else 0 :] if line.strip()]
    return written[-TAIL_LINES:]


@contextlib.contextmanager
def _terminable() -> Generator[None]:
    """Let SIGTERM end this process as Ctrl-C does, so that its jobs are stopped."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
