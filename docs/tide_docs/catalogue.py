"""The catalogue of bundled components, from the registry."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

from tide_core.cli.catalogue import record
from tide_core.registry import Registry
from tide_specs import COMPONENT_HOOKS, Component

from .markdown import code, escaped, link, table, value

ROOT = Path(__file__).parents[2]
TITLES = {
    "architecture": "Architectures",
    "attention": "Attention backends",
    "alignment": "Alignments",
    "schedule": "Noise schedules",
    "corruption": "Corruptions",
    "loss": "Losses",
    "interpolation": "Interpolations",
    "weighting": "Teacher weightings",
    "teacher_view": "Teacher views",
    "sampler": "Samplers",
    "dataset": "Datasets",
    "evaluator": "Evaluators",
    "observer": "Observers",
    "launcher": "Launchers",
    "recipe": "Recipes",
}
"""Kind -> its name in a heading."""


@functools.cache
def registry() -> Registry:
    """The bundled components, whatever else is installed."""
    return Registry.discover(environment={"TIDE_LOAD_PLUGINS": ""})


def anchor(kind: str, name: str) -> str:
    """The anchor of a component in the catalogue."""
    return f"{kind}-{name}"


def bundled(page: str, kind: str) -> str:
    """A table of one kind's components, each linked to its entry in the catalogue."""
    place = link(page, "reference/catalogue.md")
    rows = [
        (f"[`{name}`]({place}#{anchor(kind, name)})", escaped(registry().summary(cls)))
        for name, cls in registry().classes(kind).items()
    ]
    return table(("name", "what it is"), rows)


def catalogue(page: str) -> str:
    """Every component of every kind."""
    parts: list[str] = []
    for kind in COMPONENT_HOOKS:
        parts.append(f"## {TITLES[kind]} {{ #{kind} }}")
        parts.append(f"How to write one: [{kind}]({link(page, f'kinds/{kind}.md')}).")
        parts.extend(entry(cls) for cls in registry().classes(kind).values())
    return "\n\n".join(parts)


def entry(cls: type[Component]) -> str:
    """One component: documentation, options, ports, version, source."""
    found = record(registry(), cls)
    parts = [f"### {found['name']} {{ #{anchor(cls.kind, found['name'])} }}", escaped(found["documentation"])]
    if found["options"]:
        parts.append(table(("option", "type", "default", "meaning"), map(option_row, found["options"])))
    else:
        parts.append("No options.")
    parts.append("  \n".join(facts(cls, found)))
    return "\n\n".join(parts)


def option_row(option: dict[str, Any]) -> tuple[str, str, str, str]:
    """One option as a row of a table."""
    default = "required" if option["required"] else code(value(option["default"]))
    return code(option["name"]), code(option["type"]), default, escaped(option["description"])


def facts(cls: type[Component], found: dict[str, Any]) -> list[str]:
    """Ports, version of the numbers, requirements and source file."""
    lines = [f"{name}: {code(value(port))}" for name, port in found["ports"].items()]
    lines.append(f"version of its numbers: {found['version']}")
    if cls.requires:
        lines.append(f"needs: {code(', '.join(cls.requires))}")
    if found["deprecated"]:
        lines.append(f"deprecated: {escaped(found['deprecated'])}")
    lines.append(f"defined in {code(source_file(cls))}, part of {found['distribution']}")
    return lines


def source_file(cls: type[Component]) -> str:
    """Where a class is defined, from the repository's root."""
    return Path(inspect.getfile(cls)).resolve().relative_to(ROOT).as_posix()
