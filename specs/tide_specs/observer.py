"""Observers: trackers, progress displays, log files."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from .component import Component


class Observer(Component):
    """Kind ``observer``. ``open`` returns an object whose ``@hookimpl`` methods implement lifecycle hooks.

    The returned object holds the state (files, connections). It lives on the main process only. When it raises, it is
    named in a warning and muted; the run goes on.
    """

    kind: ClassVar[str] = "observer"
    nests: ClassVar[bool] = False
    """Whether runs that belong together, such as the cells of a matrix, are kept under the whole, which is then observed
    like a run: ``within`` says how."""

    @abstractmethod
    def open(self, directory: str) -> object:
        """Return the listener for one run whose files live in ``directory``."""
        raise NotImplementedError

    def within(self, whole: str, directory: str) -> Observer:
        """Return the observer of a run that is part of a whole; by default the parts know nothing of it.

        ``whole``: the ``run_id`` under which the whole is observed; ``directory``: the whole's.
        """
        return self
