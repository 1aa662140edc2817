"""The axes of a matrix file: which fields each value sets, what it is called, and what several of them make together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tide_core.overrides import parse_path
from tide_core.problems import Problem, RunFileError
from tide_core.registry import did_you_mean
from tide_core.run_schema import RunConfig
from tide_core.yaml_source import Place, Source, path_text
from tide_specs import ConfigError

LONGEST = 60
"""Characters of a label that is made from a value."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A field of the run, its value, and where in the matrix file that stands."""

    field: Place
    value: Any
    place: Place


@dataclass(frozen=True, kw_only=True)
class AxisValue:
    """One value of an axis: its label and the fields that it sets."""

    label: str
    settings: tuple[Setting, ...]


Axes = Mapping[str, Sequence[AxisValue]]

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
"""In a value of ``derived``: an axis, whose label is put here."""


def read_axes(source: Source) -> tuple[dict[str, list[AxisValue]], list[Setting]]:
    """Return the axes of a matrix file whose shape is valid, and its ``derived`` fields.

    Raises ``RunFileError`` with everything that is wrong.
    """
    reader = _Reader(source)
    axes = {name: reader.axis(name, given) for name, given in source.data["axes"].items()}
    derived = reader.derived(source.data.get("derived") or {}, axes)
    reader.check_fields(axes, derived)
    if reader.problems:
        raise RunFileError(reader.problems)
    return axes, derived


def settings_of(combination: Mapping[str, AxisValue], derived: Sequence[Setting]) -> list[Setting]:
    """Return what the values of a cell set, then its derived fields with the cell's labels in their places."""
    settings = [setting for value in combination.values() for setting in value.settings]
    for given in derived:
        text = PLACEHOLDER.sub(lambda found: combination[found[1]].label, given.value)
        settings.append(replace(given, value=text))
    return settings


class _Reader:
    """Reads axes and collects what is wrong with them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.problems: list[Problem] = []

    def _complain(self, place: Place, message: str, *hints: str) -> None:
        where, line = self._source.where(place), self._source.line(place) or 0
        self.problems.append(Problem(where=where, field=path_text(place), message=message, hints=hints, line=line))

    def axis(self, name: str, given: Any) -> list[AxisValue]:
        """Read one axis."""
        place: Place = ("axes", name)
        if isinstance(given, Mapping) and "name" in given:
            self._complain(place, "is one component; write a list of values:  [{name: ..., ...}, ...]")
            return []
        if not given:
            self._complain(place, "has no values")
            return []
        found = list(self._of_mapping(name, given) if isinstance(given, Mapping) else self._of_list(name, given))
        self._check_labels(place, found)
        return found

    def _of_mapping(self, name: str, given: Mapping[str, Any]) -> Iterator[AxisValue]:
        for label, value in given.items():
            yield self._value(name, ("axes", name, label), label, value)

    def _of_list(self, name: str, given: Sequence[Any]) -> Iterator[AxisValue]:
        labels = iter(made_labels([item for item in given if not _is_labelled(item)]))
        for index, item in enumerate(given):
            place: Place = ("axes", name, index)
            if not _is_labelled(item):
                yield self._value(name, place, next(labels), item)
            elif "set" in item:
                yield self._value(name, place, label_text(item["label"]), {"set": item["set"]})
            else:
                yield self._value(name, (*place, "value"), label_text(item["label"]), item["value"])

    def _value(self, name: str, place: Place, label: str, value: Any) -> AxisValue:
        if isinstance(value, Mapping) and set(value) == {"set"}:
            return AxisValue(label=label, settings=tuple(self._several((*place, "set"), value["set"])))
        if not self._is_field(name):
            known = list(RunConfig.model_fields)
            self._complain(
                ("axes", name),
                f"'{name}' is no field of a run{did_you_mean(name.split('.')[0], known)}",
                f"fields of a run: {', '.join(known)}",
                "an axis that sets several fields:  NAME: {LABEL: {set: {FIELD: VALUE, ...}}, ...}",
            )
            return AxisValue(label=label, settings=())
        field = self._path(name, ("axes", name))
        return AxisValue(label=label, settings=(Setting(field=field, value=value, place=place),))

    def _several(self, place: Place, given: Any) -> Iterator[Setting]:
        if not isinstance(given, Mapping):
            self._complain(place, "must be a mapping of fields to values, e.g.  {training.seed: 1}")
            return
        for path, value in given.items():
            if self._is_field(path):
                yield Setting(field=self._path(path, (*place, path)), value=value, place=(*place, path))
            else:
                near = did_you_mean(path.split(".")[0], list(RunConfig.model_fields))
                self._complain((*place, path), f"'{path}' is no field of a run{near}")

    @staticmethod
    def _is_field(path: str) -> bool:
        return path.split(".")[0].split("[")[0] in RunConfig.model_fields

    def _path(self, path: str, place: Place) -> Place:
        try:
            field = parse_path(path, self._source.where(place))
        except ConfigError as error:
            self._complain(place, str(error).removeprefix(f"{self._source.where(place)}: "))
            return ("",)
        if field[0] == "output":
            self._complain(place, "each cell has a folder of its own inside the matrix' output; no axis can set it")
        return field

    def _check_labels(self, place: Place, values: Sequence[AxisValue]) -> None:
        labels = [value.label for value in values]
        for label in sorted({label for label in labels if labels.count(label) > 1}):
            self._complain(place, f"two values are called '{label}'; give them other labels")
        if any(not label.strip() for label in labels):
            self._complain(place, "a label is empty")

    def derived(self, given: Mapping[str, str], axes: Axes) -> list[Setting]:
        """Read the fields that depend on several axes."""
        if not given:
            return []
        settings = list(self._several(("derived",), given))
        for setting in settings:
            named: list[str] = PLACEHOLDER.findall(setting.value)
            if not named:
                self._complain(
                    setting.place, "names no axis: write {AXIS} where its label belongs, or set it in the base"
                )
            for axis in named:
                if axis not in axes:
                    known = f"axes: {', '.join(axes)}"
                    self._complain(setting.place, f"there is no axis '{axis}'{did_you_mean(axis, list(axes))}", known)
        return settings

    def check_fields(self, axes: Axes, derived: Sequence[Setting]) -> None:
        """No axis may undo what another one sets, and no derived field what an axis does."""
        setters: dict[Place, str] = {}
        by_axis = {name: [setting for value in values for setting in value.settings] for name, values in axes.items()}
        for name, settings in by_axis.items():
            fields = {setting.field: setting.place for setting in settings}
            for field, place in fields.items():
                for other, first in self._replaced(field, setters):
                    order = "" if other == field else f"; write axis '{name}' before axis '{first}'"
                    self._complain(place, f"replaces '{path_text(other)}', which axis '{first}' sets{order}")
            setters |= dict.fromkeys(fields, name)
        for setting in derived:
            for other, first in self._replaced(setting.field, setters):
                self._complain(setting.place, f"replaces '{path_text(other)}', which axis '{first}' sets")

    @staticmethod
    def _replaced(field: Place, setters: Mapping[Place, str]) -> list[tuple[Place, str]]:
        return [(other, axis) for other, axis in setters.items() if other[: len(field)] == field]


def _is_labelled(item: Any) -> bool:
    return isinstance(item, Mapping) and set(item) in ({"label", "value"}, {"label", "set"})


def label_text(value: Any) -> str:
    """Return a scalar as a run file writes it: a label, or what a filter compares with one."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def made_labels(values: Sequence[Any]) -> list[str]:
    """Return labels of values that have none: names where they tell the values apart, options where they must."""
    short = [_short(value, options=False) for value in values]
    labels = [
        text if short.count(text) == 1 else _short(value, options=True)
        for text, value in zip(short, values, strict=True)
    ]
    return [_cut(label) if labels.count(label) == 1 else _cut(f"{label}#{n + 1}") for n, label in enumerate(labels)]


def _short(value: Any, *, options: bool) -> str:
    if isinstance(value, list):
        return "+".join(_short(item, options=options) for item in value) or "none"
    if isinstance(value, Mapping) and "name" in value:
        given = ",".join(f"{key}={label_text(item)}" for key, item in value.items() if key != "name")
        return f"{value['name']}({given})" if given and options else str(value["name"])
    return "none" if value is None else label_text(value)


def _cut(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
