"""Checks of launchers, with jobs that take a moment. Needs no torch."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tide_specs.launcher import Job, Launcher, LaunchSession, RunningJob
from tide_specs.testing.outcome import expect

PATIENCE = 60.0
"""Seconds in which a job must have started, or ended."""
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
MEETING = """
import pathlib, sys, time
own, other = map(pathlib.Path, sys.argv[1:])
own.touch()
while not other.exists():
    time.sleep(0.02)
"""
STOPPABLE = """
import pathlib, signal, sys, time
def stop(number, frame):
    pathlib.Path(sys.argv[2]).touch()
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1]).touch()
while True:
    time.sleep(0.02)
"""


def job_of(code: str, folder: str, *arguments: str, name: str = "job", **environment: str) -> Job:
    """Return a job that runs some Python; its log lies in the folder, which is where it starts."""
    command = [sys.executable, "-c", code, *arguments]
    return Job(name=name, command=command, directory=folder, log=f"{folder}/{name}.txt", environment=environment)


def ends(jobs: Sequence[RunningJob]) -> list[int | None]:
    """Wait for jobs and return their exit statuses; ``None`` for those that run for too long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and any(job.poll() is None for job in jobs):
        time.sleep(0.02)
    return [job.poll() for job in jobs]


def opened(launcher: Launcher, folder: str) -> LaunchSession:
    """Open a session for two jobs at once; its own files lie in a folder inside."""
    own = Path(folder) / "own"
    own.mkdir()
    return launcher.open(workers=2, directory=str(own))


def exercise(launcher: Launcher) -> None:
    """Run one job."""
    with tempfile.TemporaryDirectory() as folder:
        session = opened(launcher, folder)
        try:
            ends([session.start(job_of("", folder))])
        finally:
            session.close()


def check_runs_jobs(launcher: Launcher) -> None:
    """A job runs where it is told, with its environment; output and errors are appended to its log; its status is told."""
    code = (
        "import os, sys; print(os.getcwd(), os.environ['WORD'], flush=True); print('oh', file=sys.stderr); sys.exit(3)"
    )
    with tempfile.TemporaryDirectory() as folder:
        session = opened(launcher, folder)
        (Path(folder) / "fails.txt").write_text("before\n")
        try:
            jobs = [session.start(job_of(code, folder, name="fails", WORD="given")), session.start(job_of("", folder))]
            found = ends(jobs)
        finally:
            session.close()
        log = (Path(folder) / "fails.txt").read_text().split("\n")
        expect(found == [3, 0], f"jobs that end with status 3 and 0 are said to end with {found[0]} and {found[1]}.")
        expect(
            log[0] == "before", "a job's log is written anew; append to it, for it holds what earlier attempts said."
        )
        expect("oh" in log, "what a job writes to its standard error is not in its log.")
        expected = f"{os.path.realpath(folder)} given"
        expect(
            any(
                os.path.realpath(line.partition(" ")[0]) + line[line.find(" ") :] == expected
                for line in log[1:]
                if line
            ),
            f"a job prints its folder and a variable of its environment, but the log does not hold '{expected}'.",
        )


def check_tells_of_a_killed_job(launcher: Launcher) -> None:
    """A job that is killed ends with a status that is not 0."""
    with tempfile.TemporaryDirectory() as folder:
        session = opened(launcher, folder)
        try:
            (status,) = ends([session.start(job_of(KILLED, folder))])
        finally:
            session.close()
        expect(status is not None, "a job that was killed is said to run for ever.")
        expect(status != 0, "a job that was killed is said to have ended with status 0.")


def check_jobs_run_at_once(launcher: Launcher) -> None:
    """``start`` does not wait for a job, and as many jobs run at the same time as were announced."""
    with tempfile.TemporaryDirectory() as folder:
        one, two = f"{folder}/one", f"{folder}/two"
        session = opened(launcher, folder)
        try:
            began = time.monotonic()
            alone = session.start(job_of(MEETING, folder, one, two, name="first"))
            expect(
                time.monotonic() - began < PATIENCE / 2 and alone.poll() is None,
                "start() waits for its job, or says that a job is over which waits for another one.",
            )
            both = ends([alone, session.start(job_of(MEETING, folder, two, one, name="second"))])
        finally:
            session.close()
        expect(both == [0, 0], f"two jobs that wait for each other do not run at the same time; statuses: {both}.")


def check_close_stops_jobs(launcher: Launcher) -> None:
    """``close`` ends running jobs with SIGTERM, so that they can save their work, and waits for their end."""
    with tempfile.TemporaryDirectory() as folder:
        up, down = Path(folder) / "up", Path(folder) / "down"
        session = opened(launcher, folder)
        try:
            job = session.start(job_of(STOPPABLE, folder, str(up), str(down)))
            deadline = time.monotonic() + PATIENCE
            while not up.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            session.close()
        expect(up.exists(), "a job does not start.")
        expect(down.exists(), "close() returns before a running job has seen SIGTERM and ended.")
        expect(job.poll() is not None, "a job that close() stopped is said to run.")
