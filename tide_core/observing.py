"""Sending lifecycle events to observers, none of which can stop a run."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Sequence
from typing import Any

import pluggy

from tide_core.blame import Describe, describe
from tide_specs import (
    PROJECT,
    CheckpointSaved,
    EvaluationFinished,
    LifecycleHooks,
    MetricsLogged,
    Observer,
    PluginError,
    RunFinished,
    RunStarted,
    StepFinished,
)

Event = RunStarted | StepFinished | MetricsLogged | CheckpointSaved | EvaluationFinished | RunFinished

HOOK_OF: dict[type, str] = {
    event: "tide_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", event.__name__).lower()
    for event in (RunStarted, StepFinished, MetricsLogged, CheckpointSaved, EvaluationFinished, RunFinished)
}
"""``RunStarted`` -> ``tide_run_started``, and so on."""


class Observers:
    """The listeners of one run, on a plugin manager of their own.

    Listeners are opened when ``RunStarted`` is sent. One that raises is named in a warning and muted; the run goes on.
    ``describe`` names a component in that warning. Pass ``enabled=False`` on every process but the main one: nothing is
    opened and nothing is sent.
    """

    def __init__(
        self,
        components: Sequence[Observer],
        describe: Describe = describe,
        *,
        enabled: bool = True,
    ) -> None:
        self._components = list(components) if enabled else []
        self._describe = describe
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(LifecycleHooks)
        self._owner: dict[int, Observer] = {}
        self.muted: dict[str, str] = {}
        """Name of each observer that was muted -> why."""

    def send(self, event: Event) -> None:
        """Give ``event`` to every listener, in the order of the run file."""
        if isinstance(event, RunStarted):
            self._open(event.directory)
        hook = HOOK_OF[type(event)]
        for implementation in list(getattr(self._manager.hook, hook).get_hookimpls()):
            listener = implementation.plugin
            try:
                implementation.function(*(event for _ in implementation.argnames))
            except Exception as error:
                self._manager.unregister(listener)
                self._mute(self._owner[id(listener)], hook, error)

    def _open(self, directory: str) -> None:
        for component in self._components:
            try:
                listener: Any = component.open(directory)
                self._register(component, listener)
            except Exception as error:
                self._mute(component, "open", error)

    def _register(self, component: Observer, listener: Any) -> None:
        problem = misfit(listener)
        if problem:
            raise PluginError(problem)
        # A number keeps names apart: the same observer may be listed twice with different options.
        self._manager.register(listener, name=f"{component.name}#{len(self._owner)}")
        self._owner[id(listener)] = component

    def _mute(self, component: Observer, where: str, error: Exception) -> None:
        self.muted[component.name] = f"{type(error).__name__}: {error}"
        warnings.warn(
            f"{self._describe(component)} failed in {where} and is muted; the run goes on: "
            f"{type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=4,
        )


def misfit(listener: object) -> str | None:
    """Say what is wrong with a listener's hooks (unknown name, wrapper, too many arguments); ``None`` when nothing is."""
    known = sorted(HOOK_OF.values())
    for name in dir(type(listener)):
        options = getattr(getattr(type(listener), name), f"{PROJECT}_impl", None)
        if options is None:
            continue
        if (options.get("specname") or name) not in known:
            close = difflib.get_close_matches(name, known, n=1)
            return f"'{name}' is no lifecycle hook" + (f"; did you mean '{close[0]}'?" if close else "")
        if options.get("wrapper") or options.get("hookwrapper"):
            return f"'{name}' is a hook wrapper, which lifecycle hooks do not allow"
    return None
