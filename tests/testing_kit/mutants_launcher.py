"""Launchers that are wrong on purpose."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any, Literal

from kit_mutation import Mutant

from tide_specs import Launcher


class KitProcesses(Launcher):
    """Processes of this machine."""

    name: Literal["kit_processes"] = "kit_processes"

    def open(self, *, workers: int, directory: str) -> Any:
        return Session(self)

    def begin(self, job: Any, **options: Any) -> Any:
        given = {"cwd": job.directory, "env": {**os.environ, **job.environment}, "stderr": subprocess.STDOUT}
        with open(job.log, "ab") as log:
            return subprocess.Popen(job.command, **{"stdout": log, **given, **options})

    def end(self, process: Any) -> None:
        process.terminate()
        process.wait()


class Session:
    def __init__(self, launcher: KitProcesses) -> None:
        self.launcher, self.started = launcher, []

    def start(self, job: Any) -> Any:
        self.started.append(self.launcher.begin(job))
        return self.started[-1]

    def close(self) -> None:
        for process in self.started:
            self.launcher.end(process)


class WritesTheLogAnew(KitProcesses):
    """What earlier attempts said is lost."""

    def begin(self, job: Any, **options: Any) -> Any:
        with open(job.log, "wb"):
            return super().begin(job, **options)


class LosesErrors(KitProcesses):
    """Standard error goes nowhere."""

    def begin(self, job: Any, **options: Any) -> Any:
        return super().begin(job, stderr=subprocess.DEVNULL)


class ForgetsTheEnvironment(KitProcesses):
    """A job's variables are not set, but for one that lets it start."""

    def begin(self, job: Any, **options: Any) -> Any:
        return super().begin(job, env={**os.environ, "WORD": "other"})


class StartsElsewhere(KitProcesses):
    """The job's folder is not where it starts."""

    def begin(self, job: Any, **options: Any) -> Any:
        return super().begin(job, cwd="/")


class Told:
    """A process of which something else is told."""

    def __init__(self, process: Any, status: Any) -> None:
        self.process, self.status = process, status

    def __getattr__(self, name: str) -> Any:
        return getattr(self.process, name)

    def poll(self) -> int | None:
        return self.status(self.process.poll())


class SaysAllIsWell(KitProcesses):
    """Each job that ended is said to have ended well."""

    def begin(self, job: Any, **options: Any) -> Any:
        return Told(super().begin(job), lambda status: None if status is None else 0)


class KilledIsFine(KitProcesses):
    """Signals do not count."""

    def begin(self, job: Any, **options: Any) -> Any:
        return Told(super().begin(job), lambda status: None if status is None else max(0, status))


class WaitsForEach(KitProcesses):
    """A job has to end before the next one can start; one that takes too long is killed."""

    def begin(self, job: Any, **options: Any) -> Any:
        process = super().begin(job)
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return process


class KillsAtOnce(KitProcesses):
    """Nothing can be saved."""

    def end(self, process: Any) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()


MUTANTS = [
    Mutant(WritesTheLogAnew(), "check_runs_jobs", "append to it"),
    Mutant(LosesErrors(), "check_runs_jobs", "standard error is not in its log"),
    Mutant(ForgetsTheEnvironment(), "check_runs_jobs", "a variable of its environment"),
    Mutant(StartsElsewhere(), "check_runs_jobs", "prints its folder"),
    Mutant(SaysAllIsWell(), "check_runs_jobs", "said to end with 0 and 0"),
    Mutant(KilledIsFine(), "check_tells_of_a_killed_job", "ended with status 0"),
    Mutant(WaitsForEach(), "check_jobs_run_at_once", "over which waits for another"),
    Mutant(KillsAtOnce(), "check_close_stops_jobs", "before a running job has seen SIGTERM"),
]
