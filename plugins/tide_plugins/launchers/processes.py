"""Starting the process of a job, and seeing it through."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from tide_specs import Job

GRACE = 60.0
"""Seconds in which a process that is terminated may save what it has."""
POLL = 0.1


def start(job: Job, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a job's process in a session of its own: what is typed at a terminal reaches its starter only."""
    with open(job.log, "ab") as log:
        return subprocess.Popen(
            list(job.command),
            cwd=job.directory,
            env={**os.environ, **job.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def execute(job: Job) -> int:
    """Run a job to its end and return its exit status; this runs where a cluster's scheduler says.

    When the scheduler ends this process, it ends the job's with it.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with interruptions_held():
            process = start(job)
        while (status := process.poll()) is None:
            time.sleep(POLL)  # a wait in the system would not notice a scheduler that interrupts this thread
        return status
    except BaseException:
        if process is None:
            raise
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(GRACE)
        finally:
            process.kill()
        raise


@contextmanager
def interruptions_held() -> Generator[None]:
    """Deliver SIGINT and SIGTERM after the block: an exception amid the start of a process would lose sight of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, lambda number, _: held.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in held:
            signal.raise_signal(number)


def note(job: Job, text: str) -> None:
    """Append a line to a job's log: what its scheduler says of it."""
    with open(job.log, "a", encoding="utf-8") as log:
        log.write(f"{text.strip()}\n")
