"""The catalogue of components: as records, as a table, and in detail."""

from __future__ import annotations

import inspect
import types
from collections import abc
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tide_specs import COMPONENT_HOOKS, Component

from ..registry import Registry

COMMON = frozenset({"kind", "version", "requires", "deprecated", "model_config"})


def records(registry: Registry, kind: str | None = None, name: str | None = None) -> list[dict[str, Any]]:
    """Return one record per component. Raises ``ConfigError`` for an unknown kind or name, with suggestions."""
    if kind and name:
        return [record(registry, registry.find(kind, name))]
    kinds = [kind] if kind else list(COMPONENT_HOOKS)
    return [record(registry, cls) for each in kinds for cls in registry.classes(each).values()]


def record(registry: Registry, cls: type[Component]) -> dict[str, Any]:
    """Everything there is to say about a component, as plain data."""
    origin = registry.origin(cls)
    return {
        "kind": cls.kind,
        "name": cls.component_name(),
        "summary": registry.summary(cls),
        "documentation": inspect.cleandoc(cls.__doc__ or ""),
        "plugin": origin.plugin,
        "distribution": " ".join(filter(None, (origin.distribution, origin.version))),
        "version": cls.version,
        "unavailable": registry.unavailable(cls),
        "deprecated": cls.deprecated,
        "options": [_option(name, field) for name, field in cls.model_fields.items() if name != "name"],
        "ports": _ports(cls),
    }


def _option(name: str, field: FieldInfo) -> dict[str, Any]:
    required = field.is_required()
    default = None if required else field.get_default(call_default_factory=True)
    return {
        "name": name,
        "type": type_text(field.annotation) + limits(field.metadata),
        "required": required,
        "default": None if default is PydanticUndefined else default,
        "description": field.description or "",
    }


def limits(metadata: Sequence[Any]) -> str:
    """`` (> 0, < 1)`` for the bounds among a field's metadata, or nothing."""
    signs = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
    bounds = [f"{sign} {getattr(item, key)}" for item in metadata for key, sign in signs if hasattr(item, key)]
    return f" ({', '.join(bounds)})" if bounds else ""


def type_text(annotation: Any) -> str:
    """A type in the words of a run file: ``linear | cosine``, ``int (> 0) | null``, ``list of str``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (None, type(None)):
        return "null"
    if origin is Annotated:
        return type_text(arguments[0]) + limits(arguments[1:])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " | ".join(map(type_text, arguments))
    if origin is tuple and Ellipsis not in arguments:
        return f"[{', '.join(map(type_text, arguments))}]"
    if origin in (list, tuple, set, frozenset, abc.Sequence):
        return f"list of {type_text(arguments[0])}"
    if origin in (dict, abc.Mapping):
        return "mapping" if arguments[1] is Any else f"mapping to {type_text(arguments[1])}"
    return getattr(annotation, "__name__", str(annotation))


def _ports(cls: type[Component]) -> dict[str, Any]:
    """Class variables that say how a component fits others: what it yields, compares, serves."""
    names = sorted(set(cls.__class_vars__) - COMMON)
    values = {name: getattr(cls, name, None) for name in names if not name.startswith("_")}
    return {name: _port(value) for name, value in values.items()}


def _port(value: Any) -> Any:
    """A class variable as plain data: objects that have a name are told by it."""
    if isinstance(value, frozenset):
        return sorted(value)
    return [getattr(item, "name", item) for item in value] if isinstance(value, tuple | list) else value


def overview(found: list[dict[str, Any]], registry: Registry, console: Console) -> None:
    """Print the table, and below it what could not be listed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, fold in (("kind", False), ("name", False), ("what it is", True), ("from", True), ("", True)):
        table.add_column(column, no_wrap=not fold, overflow="fold")
    for row in found:
        note = row["unavailable"] or (f"deprecated: {row['deprecated']}" if row["deprecated"] else "")
        table.add_row(
            row["kind"], Text(row["name"]), Text(row["summary"]), Text(row["distribution"]), Text(note, "yellow")
        )
    console.print(table)
    for line in leftovers(registry):
        console.print(Text(line, "yellow"))


def leftovers(registry: Registry) -> list[str]:
    """Names that two plugins offer, and plugins that were skipped."""
    lines = []
    for kind in COMPONENT_HOOKS:
        for name, classes in registry.clashes(kind).items():
            offers = " and ".join(str(registry.origin(cls)) for cls in classes)
            lines.append(f"cannot be used: {kind} '{name}' is offered by {offers}")
    lines.extend(f"skipped: {plugin}: {plugin.skipped}" for plugin in registry.skipped)
    return lines


def detail_view(found: dict[str, Any], console: Console) -> None:
    """Print one component: documentation, options, ports, origin."""
    console.print(Text(f"{found['kind']} {found['name']}", "bold"))
    console.print(Text(found["documentation"]))
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("option", "type", "default", "meaning"):
        table.add_column(column, overflow="fold")
    for option in found["options"]:
        default = "required" if option["required"] else _yaml(option["default"])
        table.add_row(*(Text(text) for text in (option["name"], option["type"], default, option["description"])))
    console.print(table if found["options"] else "it has no options")
    console.print()
    for port, value in found["ports"].items():
        console.print(Text(f"{port}: {_yaml(value)}"))
    console.print(Text(f"version of its numbers: {found['version']}"))
    console.print(Text(f"from: plugin '{found['plugin']}' ({found['distribution']})"))
    for key in ("unavailable", "deprecated"):
        if found[key]:
            console.print(Text(f"{key}: {found[key]}", "yellow"))


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return ", ".join(_yaml(item) for item in value) or "none"
    return str(value)
