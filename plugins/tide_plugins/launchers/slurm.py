"""Jobs in the queue of a Slurm cluster, through submitit."""

from __future__ import annotations

import importlib
import signal
import time
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from tide_specs import Job, Launcher, LaunchSession, RunningJob, UnavailableError

from .processes import GRACE, execute, note

LATE = 15.0
"""Seconds that a result may take to be seen from another machine."""
CLOSING_POLL = 0.5


class Slurm(Launcher):
    """Jobs in the queue of a Slurm cluster, whose nodes share the disk. ``workers`` counts queued jobs too.

    A job that runs into its time limit dies, and is started again as often as ``retries`` says; it goes on from its
    newest checkpoint, so set ``training.checkpoint_every``.
    """

    name: Literal["slurm"] = "slurm"
    requires: ClassVar[tuple[str, ...]] = ("submitit",)
    extra: ClassVar[str | None] = "slurm"

    cluster: Literal["slurm", "local"] = Field(
        default="slurm", description="slurm, or local: processes of this machine, to try it out"
    )
    minutes: PositiveInt = Field(default=60, description="time limit of a job")
    memory_gb: PositiveFloat | None = Field(default=None, description="memory of a job; default: the partition's")
    gpus: NonNegativeInt = Field(default=0, description="GPUs of a job")
    partition: str | None = Field(default=None, description="partition; default: the cluster's")
    parameters: dict[str, str | int] = Field(
        default={}, description="further options of sbatch, e.g. {account: mine, constraint: a100}"
    )

    def open(self, *, workers: int, directory: str) -> LaunchSession:
        """Return a session. Raises ``UnavailableError`` where Slurm's commands are missing."""
        submitit: Any = importlib.import_module("submitit")
        try:
            executor = submitit.AutoExecutor(folder=Path(directory) / "slurm", cluster=self.cluster)
        except RuntimeError as error:
            raise UnavailableError(
                f"launcher 'slurm': {error}; start it where sbatch works, or try it out with cluster: local"
            ) from error
        return SlurmSession(executor, self)

    def submission(self, job: Job) -> dict[str, Any]:
        """Return what submitit is told of a job."""
        told = {
            "name": job.name.replace("/", "-"),
            "timeout_min": self.minutes,
            "cpus_per_task": job.threads,
            "gpus_per_node": self.gpus,
            "mem_gb": self.memory_gb,
            "slurm_partition": self.partition,
            "slurm_additional_parameters": dict(self.parameters) or None,
        }
        return {key: value for key, value in told.items() if value is not None}


class SlurmSession:
    """The jobs that were submitted."""

    def __init__(self, executor: Any, options: Slurm) -> None:
        self._executor = executor
        self._options = options
        self._jobs: list[SlurmJob] = []

    def start(self, job: Job) -> RunningJob:
        """Submit a job."""
        self._executor.update_parameters(**self._options.submission(job))
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        if ignored:  # as in the background of a shell; processes inherit it, and submitit's could not be cancelled
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self._jobs.append(SlurmJob(job, self._executor.submit(execute, job)))
        finally:
            if ignored:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        return self._jobs[-1]

    def close(self) -> None:
        """Cancel what runs or waits, and wait for its end."""
        running = [job for job in self._jobs if job.poll() is None]
        for job in running:
            job.submitted.cancel(check=False)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and not all(job.submitted.done(force_check=True) for job in running):
            time.sleep(CLOSING_POLL)
        for job in running:
            job.status = -signal.SIGTERM


class SlurmJob:
    """A submitted job. ``status``: its exit status, once that is known."""

    def __init__(self, job: Job, submitted: Any) -> None:
        self._job = job
        self._gone: float | None = None
        self.status: int | None = None
        self.submitted = submitted

    def poll(self) -> int | None:
        """Look for the job's result; what Slurm says of one that left none goes into the log."""
        if self.status is None and self.submitted.done() and self._told():
            error = self.submitted.exception()
            if error is not None:
                note(self._job, f"Slurm: job {self.submitted.job_id}: {self.submitted.state}: {error}")
            self.status = 1 if error is not None else int(self.submitted.result())
        return self.status

    def _told(self) -> bool:
        """Whether the result of a job that is over is there, or will not come: shared disks show files late."""
        self._gone = self._gone or time.monotonic()
        return self.submitted.paths.result_pickle.exists() or time.monotonic() - self._gone > LATE
