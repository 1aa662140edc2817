"""Runs the conformance kit over a plugin's components, without pytest."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tide_specs import Component, ConfigError, PluginError
from tide_specs.testing import CheckResult
from tide_specs.testing.runner import iterate_checks

from .discovery import PluginRecord
from .registry import Registry, did_you_mean


@dataclass(frozen=True)
class Subject:
    """A component to check, or the reason why it cannot be built without being told options."""

    cls: type[Component]
    component: Component | None
    reason: str = ""


def find_plugin(registry: Registry, name: str) -> PluginRecord:
    """Return the plugin of that name or distribution; raise ``ConfigError`` with a suggestion."""
    named = [record for record in registry.plugins if name in (record.name, record.distribution) and not record.bundled]
    named = named or [record for record in registry.plugins if name == record.name]
    if named:
        return named[0]
    known = [record.name for record in registry.plugins]
    raise ConfigError(f"no plugin is called '{name}'{did_you_mean(name, known)}\ninstalled: {', '.join(known)}")


def subjects(record: PluginRecord, options: Sequence[Mapping[str, Any]]) -> list[Subject]:
    """Return one subject for each component, or for each mapping of options that names it."""
    if record.skipped:
        raise PluginError(f"{record} is skipped: {record.skipped}")
    names = {cls.component_name() for cls in record.components}
    for given in options:
        if given.get("name") not in names:
            raise ConfigError(
                f"--with: {record} offers no component '{given.get('name')}'; it offers {', '.join(sorted(names))}"
            )
    return [_subject(cls, given) for cls in record.components for given in _options_of(cls, options)]


def _options_of(cls: type[Component], options: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [given for given in options if given["name"] == cls.component_name()] or [{}]


def _subject(cls: type[Component], options: Mapping[str, Any]) -> Subject:
    try:
        return Subject(cls, cls.model_validate(dict(options)))
    except ValidationError as error:
        if options:
            raise ConfigError(f"--with: '{cls.component_name()}': {_first(error)}") from None
        name = cls.component_name()
        return Subject(cls, None, f"needs options ({_first(error)}); give them: --with '{{name: {name}, ...}}'")


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])


def checked(subject: Subject) -> Iterator[CheckResult]:
    """Yield the results of one subject; what components print or warn of meanwhile is dropped."""
    if subject.component is None:
        name = subject.cls.component_name()
        yield CheckResult(component=name, kind=subject.cls.kind, check="-", status="skipped", message=subject.reason)
        return
    results = iterate_checks(subject.component)
    while True:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            result = next(results, None)
        if result is None:
            return
        yield result
