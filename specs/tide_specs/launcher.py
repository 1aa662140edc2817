"""Launchers: where the cells of a matrix run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from .component import Component


@dataclass(frozen=True, kw_only=True)
class Job:
    """A process to start.

    name: what to call it where jobs are listed; command: program and arguments; directory: where it starts;
    environment: variables that are set besides those that are there; log: file that its output and its errors are
    appended to; threads: processor cores that it uses.
    """

    name: str
    command: Sequence[str]
    directory: str
    log: str
    environment: Mapping[str, str] = field(default_factory=lambda: {})
    threads: int = 1


class RunningJob(Protocol):
    """A job that was started."""

    def poll(self) -> int | None:
        """Return its exit status, ``None`` while it runs or waits; negative: the signal that ended it."""
        ...


class LaunchSession(Protocol):
    """Connection to the place where jobs run."""

    def start(self, job: Job) -> RunningJob:
        """Start a job, or put it into a queue, and return at once. Raises ``UnavailableError`` when it is refused."""
        ...

    def close(self) -> None:
        """Stop the jobs that still run, with SIGTERM before any force, and wait for their end."""
        ...


class Launcher(Component):
    """Kind ``launcher``. The core starts at most ``workers`` jobs at once, starts dead ones again, and reads their results
    from the disk that all of them share; a launcher starts processes and says how they ended.

    Each job is a process of its own that ends when the process that started it does.
    """

    kind: ClassVar[str] = "launcher"
    extra: ClassVar[str | None] = None
    """The extra of the distribution that installs what the launcher requires."""

    @abstractmethod
    def open(self, *, workers: int, directory: str) -> LaunchSession:
        """Connect. ``workers``: how many jobs will be there at once; ``directory``: for files of the launcher's own.

        Raises ``UnavailableError`` naming what does not answer.
        """
        raise NotImplementedError
