"""pydantic's complaints about a run, retold: file and line, field, what to do, and the plugin that is concerned."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tide_specs import ConfigError

from .problems import Problem
from .registry import Registry, did_you_mean
from .yaml_source import Place, Source, path_text


def explain_all(
    error: ValidationError,
    data: Mapping[str, Any],
    registry: Registry,
    *,
    source: Source | None = None,
    model: type[BaseModel] | None = None,
    prefix: Place = (),
) -> list[Problem]:
    """Return one ``Problem`` for each of pydantic's complaints, several about one union folded into one."""
    problems: dict[Place, Problem] = {}
    for details in error.errors(include_url=False):
        if _only_looks_short(details):
            continue
        place = _real_place((*prefix, *details["loc"]), data)
        problem = _explain(details, place, data, registry, source, model)
        other = problems.get(place)
        if other is None:
            problems[place] = problem
        elif problem.message not in other.message:
            problems[place] = _either(other, problem)
    return list(problems.values())


def _only_looks_short(details: ErrorDetails) -> bool:
    """pydantic counts the valid items of a list only; their own errors say more."""
    given = details["input"]
    minimum = details.get("ctx", {}).get("min_length", 0)
    return details["type"] == "too_short" and isinstance(given, list | tuple) and len(given) >= minimum


def _either(first: Problem, second: Problem) -> Problem:
    return Problem(
        where=first.where,
        field=first.field,
        message=f"{first.message}, or {second.message}",
        hints=first.hints,
        line=first.line,
    )


def _real_place(loc: Sequence[str | int], data: Any) -> Place:
    """Drop what pydantic adds behind the data it looked at, such as the name of a union's member."""
    place: list[str | int] = []
    for index, part in enumerate(loc):
        inside = isinstance(data, Mapping) or (isinstance(data, list | tuple) and isinstance(part, int))
        last = index == len(loc) - 1
        if not inside and not (last and isinstance(data, Mapping)):
            break
        place.append(part)
        data = data.get(part) if isinstance(data, Mapping) else data[int(part)] if int(part) < len(data) else None
    return tuple(place)


def _explain(
    details: ErrorDetails,
    place: Place,
    data: Mapping[str, Any],
    registry: Registry,
    source: Source | None,
    model: type[BaseModel] | None,
) -> Problem:
    owner = owner_of(place, data, registry, model)
    hints = [owner.origin] if owner.origin else []
    if source and details["type"] == "tide_component" and place[0] not in source.data:
        hints.append(f"it is the default of '{place[0]}'; name another one in the run file")
    return Problem(
        where=source.where(place) if source else "",
        field=path_text(place),
        message=_message(details, place, owner),
        hints=tuple(hints),
        line=(source.line(place) or 0) if source else 0,
    )


class Owner(typing.NamedTuple):
    """The model that a place of a file belongs to: its options, what to call it, where it comes from, if it is the file."""

    title: str
    options: tuple[str, ...]
    origin: str
    whole: bool = False


def owner_of(place: Place, data: Any, registry: Registry, model: type[BaseModel] | None) -> Owner:
    """Return the innermost model that holds the last part of ``place``."""
    from .run_schema import COMPONENT_FIELDS

    title = getattr(model, "file_title", "a run")
    owner = Owner(title, tuple(model.model_fields) if model else (), "", whole=True)
    annotation: Any = model
    depth = 2 if len(place) > 2 and place[0] == "teachers" else 0  # where the section that holds components begins
    section = str(place[depth]) if place else ""
    kind = COMPONENT_FIELDS.get(section, section)
    for index, part in enumerate(place):
        field = _model_of(annotation)
        if field is not None and isinstance(part, str) and part in field.model_fields:
            annotation = field.model_fields[part].annotation
        data = _step(data, part)
        if index == len(place) - 1:
            break
        cls = _component_class(kind, data, registry) if depth <= index < depth + 2 else None
        if cls is not None:
            annotation = cls
            origin = f"{kind} '{cls.component_name()}' comes from {registry.origin(cls)}"
            owner = Owner(f"{kind} '{cls.component_name()}'", tuple(cls.model_fields), origin)
        elif (inner := _model_of(annotation)) is not None and index + 1 < len(place) and inner is not model:
            owner = Owner(f"'{part}'", tuple(inner.model_fields), owner.origin)
    return owner


def _step(data: Any, part: str | int) -> Any:
    if isinstance(data, Mapping):
        return data.get(part)
    if isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
        return data[part]
    return None


def _component_class(kind: str, data: Any, registry: Registry) -> type[Any] | None:
    name = data if isinstance(data, str) else data.get("name") if isinstance(data, Mapping) else None
    if not isinstance(name, str):
        return None
    try:
        return registry.find(kind, name)
    except ConfigError:
        return None


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation such as ``X | None``, ``list[X]`` or ``Annotated[X, ...]``."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    for argument in typing.get_args(annotation):
        found = _model_of(argument)
        if found is not None:
            return found
    return None


def _message(details: ErrorDetails, place: Place, owner: Owner) -> str:
    kind, context, given = details["type"], details.get("ctx", {}), details["input"]
    last = str(place[-1]) if place else ""
    if kind == "extra_forbidden":
        options = [option for option in owner.options if option != "name"]
        what = "section" if owner.whole else "option"
        listed = (
            f"\n{what}s of {owner.title}: {', '.join(options) or 'none'}" if options else f"\n{owner.title} has none"
        )
        return f"unknown {what} '{last}'{did_you_mean(last, options)}{listed}"
    if kind == "missing":
        return "is required" if owner.whole else f"{owner.title} requires '{last}'"
    if kind == "tide_component":
        return str(context["message"])
    if kind == "too_short":
        return f"needs at least {context.get('min_length', 1)} item, but has {context.get('actual_length', 0)}"
    if kind in {"tuple_type", "list_type"}:
        return f"must be a list, not {_show(given)}; write  {last}: [...]"
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return f"must be a section of options, not {_show(given)}"
    text = details["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if text != details["msg"] and not details["msg"].startswith("Value error"):
        return f"must be {text}; it is {_show(given)}"
    return text


def _show(value: Any) -> str:
    """The value as a run file would write it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, BaseModel):
        return type(value).__name__
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
