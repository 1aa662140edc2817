"""Jobs as processes of this machine."""

from __future__ import annotations

import subprocess
import time
from typing import Literal

from pydantic import Field, NonNegativeFloat

from tide_specs import Job, Launcher, LaunchSession, RunningJob, UnavailableError

from .processes import GRACE, start


class Local(Launcher):
    """Processes of this machine, each of a session of its own, so that Ctrl-C reaches the one that started them only."""

    name: Literal["local"] = "local"
    devices: tuple[str, ...] = Field(
        default=(), description="values of CUDA_VISIBLE_DEVICES; a job gets the least used one; none: all see all GPUs"
    )
    grace: NonNegativeFloat = Field(
        default=GRACE, description="seconds in which a job that is stopped may save a checkpoint before it is killed"
    )

    def open(self, *, workers: int, directory: str) -> LaunchSession:
        """Return a session; nothing has to be reached."""
        return LocalSession(self)


class LocalSession:
    """The processes that were started, and the devices that they hold."""

    def __init__(self, options: Local) -> None:
        self._options = options
        self._running: list[tuple[subprocess.Popen[bytes], str]] = []

    def start(self, job: Job) -> RunningJob:
        """Start a process."""
        device = self._free_device()
        try:
            process = start(job, {"CUDA_VISIBLE_DEVICES": device} if device else None)
        except OSError as error:
            raise UnavailableError(f"launcher 'local': {job.name} cannot be started: {error}") from error
        self._running.append((process, device))
        return process

    def _free_device(self) -> str:
        """Return the device that the fewest running jobs hold; nothing where none are listed."""
        self._running = [(process, device) for process, device in self._running if process.poll() is None]
        held = [device for _, device in self._running]
        return min(self._options.devices, key=held.count, default="")

    def close(self) -> None:
        """Terminate what runs, and kill it when the grace is over."""
        for process, _ in self._running:
            process.terminate()
        deadline = time.monotonic() + self._options.grace
        for process, _ in self._running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()
