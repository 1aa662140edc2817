"""Jobs on a Ray cluster, or on one that is started on this machine."""

from __future__ import annotations

import importlib
import os
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from tide_specs import Job, Launcher, LaunchSession, RunningJob, UnavailableError

from .processes import GRACE, execute, note


class Ray(Launcher):
    """Tasks on a Ray cluster, whose machines share the disk; Ray decides where each one runs."""

    name: Literal["ray"] = "ray"
    requires: ClassVar[tuple[str, ...]] = ("ray",)
    extra: ClassVar[str | None] = "ray"

    address: str | None = Field(
        default=None, description="of the cluster; auto: one that runs here; default: one that ends with the matrix"
    )
    gpus: NonNegativeFloat = Field(default=0.0, description="GPUs of a job; a fraction shares one")

    def open(self, *, workers: int, directory: str) -> LaunchSession:
        """Connect to the cluster, or start one. Raises ``UnavailableError`` when it does not answer."""
        ray: Any = importlib.import_module("ray")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UnavailableError(f"launcher 'ray': no cluster at {self.address!r}: {error}") from error
        return RaySession(ray, self.gpus)


class RaySession:
    """The tasks that were submitted."""

    def __init__(self, ray: Any, gpus: float) -> None:
        self._ray = ray
        self._gpus = gpus
        self._jobs: list[RayJob] = []

    def start(self, job: Job) -> RunningJob:
        """Submit a task."""
        remote = self._ray.remote(num_cpus=job.threads, num_gpus=self._gpus, max_retries=0)(execute)
        self._jobs.append(RayJob(self._ray, job, remote.options(name=job.name).remote(job)))
        return self._jobs[-1]

    def close(self) -> None:
        """Cancel what runs, wait for its end, and leave the cluster."""
        running = [job.reference for job in self._jobs if job.poll() is None]
        for reference in running:
            self._ray.cancel(reference, force=False)
        if running:
            self._ray.wait(running, num_returns=len(running), timeout=GRACE)
        for job in self._jobs:
            job.poll()
        self._ray.shutdown()


class RayJob:
    """A task."""

    def __init__(self, ray: Any, job: Job, reference: Any) -> None:
        self._ray = ray
        self._job = job
        self._status: int | None = None
        self.reference = reference

    def poll(self) -> int | None:
        """Ask Ray; what Ray says of a task that it lost goes into the log."""
        if self._status is None and self._ray.wait([self.reference], timeout=0)[0]:
            try:
                self._status = int(self._ray.get(self.reference))
            except self._ray.exceptions.RayError as error:
                note(self._job, f"Ray: {type(error).__name__}: {error}")
                self._status = 1
        return self._status
