"""Starting the process of a job, and seeing it through."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping

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
    process = start(job)
    try:
        while (status := process.poll()) is None:
            time.sleep(POLL)  # a wait in the system would not notice a scheduler that interrupts this thread
        return status
    except BaseException:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(GRACE)
        finally:
            process.kill()
        raise


def note(job: Job, text: str) -> None:
    """Append a line to a job's log: what its scheduler says of it."""
    with open(job.log, "a", encoding="utf-8") as log:
        log.write(f"{text.strip()}\n")
