"""The registry: every component of every plugin, by kind and name. It knows none of them in advance."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainValidator, SerializeAsAny, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from tide_specs import COMPONENT_HOOKS, Component, ConfigError, TideError, UnavailableError

from .component_checks import BASES
from .discovery import PluginRecord, collect
from .plugin_sources import Candidate, bundled, chosen, from_file, installed, unknown_names

BUILTIN = (
    "tide_plugins.architectures",
    "tide_plugins.attention",
    "tide_plugins.alignments",
    "tide_plugins.schedules",
    "tide_plugins.corruptions",
    "tide_plugins.losses",
    "tide_plugins.interpolations",
    "tide_plugins.weightings",
    "tide_plugins.teacher_views",
    "tide_plugins.samplers",
    "tide_plugins.datasets",
    "tide_plugins.evaluators",
    "tide_plugins.observers",
    "tide_plugins.launchers",
    "tide_plugins.recipes",
)
"""The bundled plugins. Strings, so that the core imports none of them by name."""


class PluginWarning(UserWarning):
    """A plugin was skipped, or something about it needs its author's attention."""


@dataclass(frozen=True)
class Origin:
    """Where a component comes from."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"plugin '{self.plugin}' ({' '.join(filter(None, (self.distribution, self.version)))})"


class Registry:
    """What was found. Build one with ``Registry.discover()``."""

    def __init__(self, plugins: Sequence[PluginRecord]) -> None:
        self.plugins: tuple[PluginRecord, ...] = tuple(plugins)
        self._offers: dict[str, dict[str, list[type[Component]]]] = {kind: {} for kind in COMPONENT_HOOKS}
        self._origins: dict[type[Component], Origin] = {}
        for record in self.plugins:
            for cls in record.components:
                if cls in self._origins:  # one class through two entry points, or another plugin's class passed on
                    continue
                self._origins[cls] = Origin(record.name, record.distribution, record.version)
                self._offers[cls.kind].setdefault(cls.component_name(), []).append(cls)

    @classmethod
    def discover(
        cls,
        plugin_files: Sequence[str] = (),
        *,
        environment: Mapping[str, str] = os.environ,
        builtin: Sequence[str] = BUILTIN,
    ) -> Registry:
        """Import every plugin and collect its components.

        A plugin that fails is skipped with a ``PluginWarning``. Raises ``PluginError`` only for a file of
        ``plugin_files`` that does not exist.
        """
        candidates = [*bundled(builtin), *installed(), *(from_file(path) for path in plugin_files)]
        kept, left = chosen(candidates, environment)
        registry = cls([*(collect(candidate) for candidate in kept), *(_blocked(candidate) for candidate in left)])
        for record in registry.skipped:
            if not record.blocked:
                warnings.warn(f"{record} was skipped: {record.skipped}", PluginWarning, stacklevel=2)
        for name in unknown_names(candidates, environment):
            warnings.warn(f"TIDE_LOAD_PLUGINS names '{name}', which is not installed", PluginWarning, stacklevel=2)
        return registry

    @property
    def skipped(self) -> tuple[PluginRecord, ...]:
        """The plugins that contribute nothing, each with its reason."""
        return tuple(record for record in self.plugins if record.skipped)

    def classes(self, kind: str) -> dict[str, type[Component]]:
        """Return name -> class of one kind, sorted by name, without names that two plugins offer."""
        _check_kind(kind)
        return {name: found[0] for name, found in sorted(self._offers[kind].items()) if len(found) == 1}

    def clashes(self, kind: str) -> dict[str, tuple[type[Component], ...]]:
        """Return the names that several plugins offer; none of those classes can be used until all but one is blocked."""
        _check_kind(kind)
        return {name: tuple(found) for name, found in sorted(self._offers[kind].items()) if len(found) > 1}

    def origin(self, component: type[Component] | Component) -> Origin:
        """Return the plugin, distribution and version that a component class (or an instance's class) comes from."""
        cls = component if isinstance(component, type) else type(component)
        return self._origins.get(cls, Origin(cls.__module__, "not registered", ""))

    def unavailable(self, cls: type[Component]) -> str | None:
        """Return why a component cannot be used here (an import that it requires is missing), or ``None``."""
        missing = [name for name in cls.requires if not _importable(name)]
        return f"needs {', '.join(missing)}; pip install {' '.join(missing)}" if missing else None

    def find(self, kind: str, name: str) -> type[Component]:
        """Return the class of that name; raise ``ConfigError`` with suggestions, or naming both offers of a clash."""
        clash = self.clashes(kind).get(name)
        if clash:
            origins = [self.origin(cls) for cls in clash]
            offers = " and by ".join(str(origin) for origin in origins)
            raise ConfigError(
                f"{kind} '{name}' is offered by {offers}; block one: TIDE_BLOCK_PLUGINS={origins[-1].plugin}"
            )
        known = self.classes(kind)
        if name not in known:
            raise ConfigError(self._unknown(kind, name, list(known)))
        return known[name]

    def _unknown(self, kind: str, name: str, known: Sequence[str]) -> str:
        lines = [f"no {kind} is called '{name}'{did_you_mean(name, known)}"]
        lines.append(f"known: {', '.join(known) or 'none'}")
        elsewhere = [other for other in COMPONENT_HOOKS if other != kind and name in self._offers[other]]
        lines.extend(f"'{name}' is the name of a component of kind {other}" for other in elsewhere)
        lines.extend(f"skipped: {record}: {record.skipped}" for record in self.skipped)
        return "\n".join(lines)

    def resolve(self, kind: str, value: object) -> Component:
        """Build a component from a name, a mapping with ``name``, or itself; for pydantic's validators."""
        if isinstance(value, BASES[kind]):
            return value
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            raise _custom(f"write the name of the {kind}, or a mapping with its name and options, not {value!r}")
        name = value.get("name")
        if not isinstance(name, str):
            raise _custom(f"which {kind}? give its name: {', '.join(self.classes(kind)) or 'none is installed'}")
        try:
            cls = self.find(kind, name)
        except ConfigError as error:
            raise _custom(str(error)) from None
        try:
            return cls.model_validate(dict(value), context={"resolve": self.resolve})
        except (ValidationError, PydanticCustomError):
            raise
        except Exception as error:  # a validator of the plugin's own that breaks pydantic's rules
            says = str(error) if isinstance(error, TideError) else f"raised {type(error).__name__}: {error}"
            raise _custom(f"{kind} '{name}' {says}\nit comes from {self.origin(cls)}") from None

    def adapter(self, kind: str) -> TypeAdapter[Any]:
        """Return a pydantic ``TypeAdapter`` that builds any component of a kind from plain data."""
        _check_kind(kind)
        return TypeAdapter(self.annotation(kind))

    def annotation(self, kind: str) -> Any:
        """Return the type annotation of a field that holds a component of a kind."""
        base = BASES[kind]
        return Annotated[SerializeAsAny[base], PlainValidator(lambda value: self.resolve(kind, value))]  # type: ignore[valid-type]

    def build(self, kind: str, value: object) -> Any:
        """Build a component from plain data; raise ``ConfigError``, or ``UnavailableError`` when it cannot serve here."""
        from .config_errors import explain_all

        _check_kind(kind)
        try:
            component = self.adapter(kind).validate_python(value)
        except ValidationError as error:
            problems = explain_all(error, {kind: value}, self, prefix=(kind,))
            raise ConfigError("\n".join(str(problem) for problem in problems)) from None
        reason = self.unavailable(type(component))
        if reason:
            raise UnavailableError(f"{kind} '{component.name}' {reason}")
        return component

    def summary(self, cls: type[Component]) -> str:
        """Return the first line of a component's documentation."""
        return inspect.cleandoc(cls.__doc__ or "").split("\n", 1)[0]


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest known word, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def _check_kind(kind: str) -> None:
    if kind not in COMPONENT_HOOKS:
        raise ConfigError(
            f"no kind of component is called '{kind}'{did_you_mean(kind, list(COMPONENT_HOOKS))}"
            f" (kinds: {', '.join(COMPONENT_HOOKS)})"
        )


def _custom(message: str) -> PydanticCustomError:
    return PydanticCustomError("tide_component", "{message}", {"message": message})


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _blocked(candidate: Candidate) -> PluginRecord:
    return PluginRecord(
        name=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        bundled=candidate.bundled,
        skipped="left out by TIDE_LOAD_PLUGINS or TIDE_BLOCK_PLUGINS",
        blocked=True,
    )
