"""The run file, from the pydantic models."""

from __future__ import annotations

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tide_core.cli.catalogue import limits, type_text
from tide_core.matrix.schema import MatrixFile
from tide_core.run_schema import COMPONENT_FIELDS, LISTS, OPTIONAL, RunConfig
from tide_core.settings import Timesteps, Training

from .markdown import code, escaped, link, table, value

SECTIONS: dict[str, type[BaseModel]] = {"timesteps": Timesteps, "training": Training}


def run_file(page: str) -> str:
    """The sections of a run file."""
    rows = [(code(name), _kind(page, name, info), _default(name, info), _meaning(info)) for name, info in _fields()]
    return table(("section", "holds", "default", "meaning"), rows)


def section(page: str, name: str) -> str:
    """The options of a section that holds no component."""
    return table(
        ("option", "type", "default", "meaning"),
        [_option(key, info) for key, info in SECTIONS[name].model_fields.items()],
    )


def matrix_file(page: str) -> str:
    """The sections of a matrix file."""
    kind = f"[launcher]({link(page, 'reference/catalogue.md')}#launcher)"
    rows = [_option(key, info) for key, info in MatrixFile.model_fields.items()]
    shown = [(name, kind if name == "`launcher`" else holds, *rest) for name, holds, *rest in rows]
    return table(("section", "holds", "default", "meaning"), shown)


def _option(key: str, info: FieldInfo) -> tuple[str, str, str, str]:
    return code(key), code(type_text(info.annotation) + limits(info.metadata)), _default(key, info), _meaning(info)


def _fields() -> list[tuple[str, FieldInfo]]:
    return list(RunConfig.model_fields.items())


def _kind(page: str, name: str, info: FieldInfo) -> str:
    if name in SECTIONS:
        return f"[options](#{name})"
    if name not in COMPONENT_FIELDS:
        return code(type_text(info.annotation))
    kind = COMPONENT_FIELDS[name]
    shape = "a list of " if name in LISTS else ""
    ending = " or null" if name in OPTIONAL else ""
    return f"{shape}[{kind}]({link(page, 'reference/catalogue.md')}#{kind}){ending}"


def _default(name: str, info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    given = info.get_default(call_default_factory=True)
    if given is PydanticUndefined or isinstance(given, BaseModel):
        return "see below"
    return code(value(list(given) if isinstance(given, tuple) else given))


def _meaning(info: FieldInfo) -> str:
    return escaped(info.description or "")
