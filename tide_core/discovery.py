"""The collecting loop: each plugin is imported and asked for its components inside its own ``try``.

Nothing else in TIDE touches the component hooks. A plugin that fails in any way becomes a record with a reason.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pluggy

from tide_specs import (
    COMPONENT_HOOKS,
    CONTRACT_VERSION,
    PROJECT,
    Component,
    ComponentHooks,
    LifecycleHooks,
    PluginError,
)

from .component_checks import check_component
from .plugin_failures import explain, where
from .plugin_sources import Candidate

SLOW_SECONDS = 1.0
LIFECYCLE = frozenset(name for name in vars(LifecycleHooks) if name.startswith("tide_"))


@dataclass(frozen=True, kw_only=True)
class PluginRecord:
    """One plugin: what it offers, or why it was skipped. ``notes``: what its author should know (slow, prints)."""

    name: str
    distribution: str
    version: str
    bundled: bool = False
    components: tuple[type[Component], ...] = ()
    skipped: str | None = None
    blocked: bool = False
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def offers(self) -> tuple[tuple[str, str], ...]:
        """(kind, name) of every component."""
        return tuple((cls.kind, cls.component_name()) for cls in self.components)

    def __str__(self) -> str:
        return f"plugin '{self.name}' ({' '.join(filter(None, (self.distribution, self.version)))})"


def collect(candidate: Candidate) -> PluginRecord:
    """Import one plugin and collect its components; never raises for what the plugin does."""
    started = time.perf_counter()
    had_torch = "torch" in sys.modules
    components: tuple[type[Component], ...] = ()
    skipped: str | None = None
    with _quiet_stdout() as printed:
        try:
            components = _components(candidate)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a plugin must not end the program
            candidate.withdraw()
            skipped = explain(error, candidate)
    seconds = time.perf_counter() - started
    notes = []
    if printed:
        notes.append("prints when imported; its output was sent to stderr")
    if seconds > SLOW_SECONDS:
        notes.append(f"slow: discovery took {seconds:.1f} s; import heavy libraries inside methods")
    if not had_torch and "torch" in sys.modules:
        notes.append("imports torch when discovered; import it inside methods")
    if not components and skipped is None:
        notes.append("offers nothing; mark a function with @hookimpl that returns component classes")
    return PluginRecord(
        name=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        bundled=candidate.bundled,
        components=components,
        skipped=skipped,
        notes=tuple(notes),
        seconds=seconds,
    )


def _components(candidate: Candidate) -> tuple[type[Component], ...]:
    if candidate.refusal:
        raise PluginError(candidate.refusal)
    plugin = candidate.load()
    _check_contract(plugin)
    _check_hook_names(plugin)
    # A manager of its own for every plugin: whatever goes wrong, nothing of it stays registered anywhere.
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(ComponentHooks)
    manager.register(plugin, candidate.name)
    found: list[type[Component]] = []
    for kind, hook in COMPONENT_HOOKS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            found.extend(check_component(kind, offered) for offered in _ask(hook, implementation))
    _check_unique(found)
    return tuple(found)


def _ask(hook: str, implementation: pluggy.HookImpl) -> list[object]:
    if implementation.wrapper or implementation.hookwrapper:
        raise PluginError(
            f"hook '{hook}' is a wrapper; it would see other plugins' components, so return your own only"
        )
    try:
        offered: Any = implementation.function()
        return [] if offered is None else list(offered)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"hook '{hook}' raised {type(error).__name__}: {error}{where(error)}") from error


def _check_contract(plugin: object) -> None:
    stated = getattr(plugin, "tide_contract", None)
    if stated is None:
        return
    try:
        major, minor = (int(part) for part in str(stated).split("."))
    except ValueError:
        raise PluginError(f"tide_contract is {stated!r}; write it like '{CONTRACT_VERSION}'") from None
    our_major, our_minor = (int(part) for part in CONTRACT_VERSION.split("."))
    if major != our_major or minor > our_minor:
        remedy = "update the plugin" if (major, minor) < (our_major, our_minor) else "update TIDE"
        raise PluginError(f"written for contract {stated}, but this TIDE speaks contract {CONTRACT_VERSION}; {remedy}")


def _check_hook_names(plugin: object) -> None:
    if isinstance(plugin, type):
        raise PluginError(f"the entry point names the class '{plugin.__name__}'; name a module or an instance")
    known = tuple(COMPONENT_HOOKS.values())
    for attribute in dir(plugin):
        member = getattr(plugin, attribute, None)
        options = getattr(member, f"{PROJECT}_impl", None)
        if isinstance(options, dict):
            hook = options.get("specname") or attribute
            _check_hook_name(hook, known)
            _check_no_arguments(hook, member)
        elif attribute in known and isinstance(member, (types.FunctionType, types.MethodType)):
            raise PluginError(f"function '{attribute}' is not marked; put @hookimpl (from tide_specs) above it")


def _check_hook_name(hook: str, known: tuple[str, ...]) -> None:
    if hook in known:
        return
    if hook in LIFECYCLE:
        raise PluginError(f"'{hook}' belongs to the object that Observer.open returns, not to the plugin module")
    close = difflib.get_close_matches(hook, known, n=1, cutoff=0.4)
    raise PluginError(f"'{hook}' is no hook" + (f"; did you mean '{close[0]}'?" if close else f": {', '.join(known)}"))


def _check_no_arguments(hook: str, implementation: object) -> None:
    if callable(implementation) and (arguments := list(inspect.signature(implementation).parameters)):
        raise PluginError(f"hook '{hook}' takes no arguments, but asks for {', '.join(arguments)}")


def _check_unique(found: list[type[Component]]) -> None:
    seen: dict[tuple[str, str], type[Component]] = {}
    for cls in found:
        other = seen.setdefault((cls.kind, cls.component_name()), cls)
        if other is not cls:
            raise PluginError(
                f"classes '{other.__name__}' and '{cls.__name__}' are both {cls.kind} '{cls.component_name()}'"
            )


class _Noticed:
    """Stands in for stdout: whatever is written goes to stderr, and is noticed."""

    def __init__(self) -> None:
        self.used = False

    def __bool__(self) -> bool:
        return self.used

    def write(self, text: str) -> int:
        """Write to stderr instead."""
        self.used = True
        return sys.stderr.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(sys.stderr, name)


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[_Noticed]:
    noticed = _Noticed()
    with contextlib.redirect_stdout(noticed):  # type: ignore[type-var]
        yield noticed
