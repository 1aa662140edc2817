"""From a run file to a ``RunConfig`` and back to plain data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tide_specs import TideError

from .config_errors import explain_all
from .overrides import apply_override
from .problems import Problem, RunFileError
from .registry import Registry
from .run_schema import COMPONENT_FIELDS, LESSON_FIELDS, SHORTHANDS, RunConfig, build_run_model, section_defaults
from .yaml_source import Place, Source, path_text, read_source

PATH_FIELDS = frozenset(
    {"path", "paths", "file", "files", "evaluation_path", "model", "tokenizer", "tokenizer_from", "config", "cache"}
)
"""Options of components that may name something beside the run file."""


@dataclass(frozen=True)
class LoadedRun:
    """A valid run file. ``source`` knows the line of every part, for messages about the mix."""

    config: RunConfig
    source: Source

    @contextlib.contextmanager
    def located(self) -> Iterator[None]:
        """Put file, line and section before the message of an error that one of the run's components raised."""
        try:
            yield
        except TideError as error:
            place = self._place_of(error.raised_by)
            if place:
                error.args = (f"{self.source.where(place)}: {path_text(place)}: {error}",)
            raise

    def _place_of(self, component: object) -> Place:
        return next((place for place, item in self.config.components() if item is component), ())


def load_run(path: str | Path, overrides: Sequence[str] = (), *, registry: Registry) -> LoadedRun:
    """Read and validate a run file. Raises ``ConfigError`` that names everything wrong with it, by line.

    ``overrides``: texts like ``training.steps=50``. Relative paths of inputs are looked up beside the file first.
    """
    source = read_source(path)
    defaults = section_defaults()
    for text in overrides:
        apply_override(source, text, defaults)
    _resolve_paths(source)
    config = validate_run(source, registry)
    if not config.output:
        config = config.model_copy(update={"output": str(Path("runs") / Path(path).stem)})
    return LoadedRun(config, source)


def load_record(
    record: Mapping[str, Any], title: str, overrides: Sequence[str] = (), *, registry: Registry
) -> LoadedRun:
    """Return the run that ``config_record`` was taken of, with changes; ``title`` names it in messages."""
    source = Source(title, data=dict(record))
    for text in overrides:
        apply_override(source, text)
    return LoadedRun(validate_run(source, registry), source)


def validate_run(source: Source, registry: Registry) -> RunConfig:
    """Return the run that ``source.data`` describes; raises ``RunFileError`` with every problem."""
    model = build_run_model(registry)
    _name_shorthands(source.data)
    try:
        config = model.model_validate(source.data)
    except ValidationError as error:
        data = {**section_defaults(), **source.data}
        raise RunFileError(explain_all(error, data, registry, source=source, model=model)) from None
    misread = list(_misread((), source.data, config, source))
    if misread:
        raise RunFileError(misread)
    return config


def _name_shorthands(data: dict[str, Any]) -> None:
    """Write out what names no component: ``teacher: {cache: DIR}`` means ``cached``; also in entries of ``teachers``."""
    teachers = data.get("teachers")
    for sections in (data, *(teachers if isinstance(teachers, list) else ())):
        for field in sections.keys() & COMPONENT_FIELDS.keys() if isinstance(sections, dict) else ():
            option, name = SHORTHANDS.get(COMPONENT_FIELDS[field], ("", ""))
            component = sections[field]
            if isinstance(component, dict) and option in component and "name" not in component:
                sections[field] = {"name": name, **component}


def _misread(place: Place, given: Any, taken: Any, source: Source) -> Iterator[Problem]:
    """Find ``true`` or ``false`` where a number or a word is meant: pydantic would take ``true`` for 1."""
    if isinstance(given, bool):
        if isinstance(taken, int | float | str) and not isinstance(taken, bool):
            word = "true" if given else "false"
            message = f"must be a {'word' if isinstance(taken, str) else 'number'}; it is {word}"
            line = source.line(place) or 0
            yield Problem(where=source.where(place), field=path_text(place), message=message, line=line)
    elif isinstance(given, Mapping):
        for key, value in given.items():
            inner = taken.get(key) if isinstance(taken, Mapping) else getattr(taken, str(key), None)
            yield from _misread((*place, key), value, inner, source)
    elif isinstance(given, list) and isinstance(taken, list | tuple):
        for index, (value, inner) in enumerate(zip(given, taken, strict=False)):
            yield from _misread((*place, index), value, inner, source)


def run_from_record(record: Mapping[str, Any], *, registry: Registry) -> RunConfig:
    """Return the run that ``config_record`` was taken of."""
    return validate_run(Source("recorded run", data=dict(record)), registry)


def config_record(config: RunConfig) -> dict[str, Any]:
    """Return the whole run, defaults included, as plain data that JSON can hold and ``run_from_record`` accepts."""
    return config.model_dump(mode="json", serialize_as_any=True)


@dataclass(frozen=True)
class Difference:
    """One field in which two runs differ; absent ones are ``None``."""

    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.field}: {self.old!r} -> {self.new!r}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Return the fields in which two records differ, in the order of the run file."""
    return list(_differences((), old, new))


def _differences(place: Place, old: Any, new: Any) -> list[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.get("name") == new.get("name"):
        keys = [*old, *(key for key in new if key not in old)]
        return [found for key in keys for found in _differences((*place, key), old.get(key), new.get(key))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for index, (a, b) in pairs for found in _differences((*place, index), a, b)]
    return [] if old == new else [Difference(path_text(place), old, new)]


def _resolve_paths(source: Source) -> None:
    _resolve_sections(source, (), source.data, COMPONENT_FIELDS)
    teachers = source.data.get("teachers")
    for number, lesson in enumerate(teachers if isinstance(teachers, list) else ()):
        if isinstance(lesson, dict):
            _resolve_sections(source, ("teachers", number), lesson, LESSON_FIELDS)


def _resolve_sections(source: Source, place: Place, data: dict[str, Any], fields: Iterable[str]) -> None:
    for field in fields:
        value, here = data.get(field), (*place, field)
        if isinstance(value, list):
            data[field] = [_with_paths(source, (*here, index), item) for index, item in enumerate(value)]
        elif value is not None:
            data[field] = _with_paths(source, here, value)


def _with_paths(source: Source, place: Place, component: Any) -> Any:
    if not isinstance(component, dict):
        return component
    return {key: _resolved(source, (*place, key), given) for key, given in component.items()}


def _resolved(source: Source, place: Place, given: Any) -> Any:
    """Return a path beside the run file as an absolute one. What the command line set is relative to where one is."""
    if place[-1] not in PATH_FIELDS or source.override_of(place) is not None:
        return given
    if isinstance(given, list):
        return [_resolved(source, place, item) for item in given]
    if not isinstance(given, str) or not given or Path(given).is_absolute():
        return given
    beside = source.directory / given
    return str(beside.resolve()) if beside.exists() else given


__all__ = [
    "Difference",
    "LoadedRun",
    "RunConfig",
    "config_record",
    "differences",
    "load_record",
    "load_run",
    "run_from_record",
    "validate_run",
]
