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

    @abstractmethod
    def open(self, directory: str) -> object:
        """Return the listener for one run whose files live in ``directory``."""
        raise NotImplementedError
