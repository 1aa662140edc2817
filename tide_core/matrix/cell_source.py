"""The run of one cell, and which line of which file each part of it comes from."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tide_core.config import PATH_FIELDS
from tide_core.overrides import put
from tide_core.run_schema import COMPONENT_FIELDS, LISTS, section_defaults
from tide_core.yaml_source import Place, Source, read_source

from .axes import Setting


class Base:
    """The run that all cells start from: a file beside the matrix file, or a section of it.

    source: the file it stands in; prefix: where in that file.
    """

    source: Source
    prefix: Place

    def __init__(self, matrix: Source) -> None:
        given = matrix.data["base"]
        if isinstance(given, str):
            beside = matrix.directory / given
            self.source, self.prefix = read_source(beside if beside.exists() else given), ()
            data = self.source.data
        else:
            self.source, self.prefix, data = matrix, ("base",), given
        folder = self.source.directory
        self.data = {key: with_paths((key,), copy.deepcopy(value), folder) for key, value in data.items()}


class CellSource(Source):
    """Places of a cell's run are looked up in the axes first, and then in the base."""

    def __init__(self, base: Base, matrix: Source, settings: Sequence[Setting]) -> None:
        super().__init__(base.source.file, data=copy.deepcopy(base.data))
        self._base, self._matrix = base, matrix
        self._set: dict[Place, Place] = {}
        defaults = section_defaults()
        for setting in settings:
            value = with_paths(setting.field, copy.deepcopy(setting.value), matrix.directory)
            put(self.data, setting.field, value, matrix.where(setting.place), defaults)
            self._set[setting.field] = setting.place
        self.data.pop("output", None)

    def line(self, place: Sequence[str | int]) -> int | None:
        """Return the line of a part of the run, in the file that ``where`` names."""
        source, there = self._find(tuple(place))
        return source.line(there)

    def where(self, place: Sequence[str | int]) -> str:
        """Return file and line of a part of the run."""
        source, there = self._find(tuple(place))
        return source.where(there)

    def _find(self, place: Place) -> tuple[Source, Place]:
        for length in range(len(place), 0, -1):
            if place[:length] in self._set:
                return self._matrix, (*self._set[place[:length]], *place[length:])
        inside = [there for field, there in self._set.items() if place and field[: len(place)] == place]
        # What is wrong with a section that an axis reaches into is most likely what the axis put there.
        return (self._matrix, inside[0]) if inside else (self._base.source, (*self._base.prefix, *place))


def with_paths(field: Place, value: Any, folder: Path) -> Any:
    """Return a value of a run in which what a component's options name beside the file is an absolute path."""
    section = str(field[0])
    if section == "teachers":
        return _in_teachers(field[1:], value, folder)
    if section not in COMPONENT_FIELDS:
        return value
    depth = len(field) - (2 if section in LISTS else 1)
    if depth < 0:
        return [_options(item, folder) for item in value] if isinstance(value, list) else value
    if depth == 0:
        return _options(value, folder)
    return _named(value, folder) if depth == 1 and field[-1] in PATH_FIELDS else value


def _in_teachers(rest: Place, value: Any, folder: Path) -> Any:
    """The same inside the list ``teachers``, each of whose entries has sections of its own."""
    if len(rest) > 1:
        return with_paths(rest[1:], value, folder)
    if not rest and isinstance(value, list):
        return [_in_teachers((number,), item, folder) for number, item in enumerate(value)]
    if rest and isinstance(value, Mapping):
        return {key: with_paths((key,), given, folder) for key, given in value.items()}
    return value


def _options(component: Any, folder: Path) -> Any:
    if not isinstance(component, Mapping):
        return component
    return {key: _named(given, folder) if key in PATH_FIELDS else given for key, given in component.items()}


def _named(given: Any, folder: Path) -> Any:
    if isinstance(given, list):
        return [_named(item, folder) for item in given]
    return _beside(given, folder) if isinstance(given, str) and given else given


def _beside(given: str, folder: Path) -> str:
    beside = folder / given
    return str(beside.resolve()) if beside.exists() else given
