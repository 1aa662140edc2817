"""Options that hold another component: ``judge: Annotated[Architecture, HeldComponent()]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SerializationInfo, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from .component import Component

RESOLVE = "resolve"
"""Key of pydantic's validation context under which the core leaves ``(kind, plain data) -> component``."""


@dataclass(frozen=True)
class HeldComponent:
    """Marks an option that holds a component of another kind, written as anywhere in a run file: a name, or name and options.

    ``sampler: Annotated[Sampler, HeldComponent()] | None = Field(default=None, description="...")``

    The core builds it when the run file is read, so that a misspelt one is found before anything loads. Without the core,
    only a component itself is accepted, since plain data cannot be looked up.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept a component of the kind of ``source``, and what the core makes into one."""
        base = cast("type[Component]", source)

        def validate(value: object, info: ValidationInfo) -> object:
            return value if isinstance(value, base) else _resolve(base.kind, value, info)

        return core_schema.with_info_plain_validator_function(
            validate,
            serialization=core_schema.plain_serializer_function_ser_schema(_plain, info_arg=True),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A name, or a mapping with a name."""
        return {"type": ["string", "object"], "required": ["name"]}


def _resolve(kind: str, value: object, info: ValidationInfo) -> object:
    context = cast("Mapping[str, Any]", info.context or {})
    resolve = cast("Callable[[str, object], object] | None", context.get(RESOLVE))
    if resolve is None:
        raise ValueError(f"plain data becomes a {kind} only where components are known; give a {kind} object")
    return resolve(kind, value)


def _plain(component: Component, info: SerializationInfo) -> dict[str, Any]:
    return component.model_dump(mode=info.mode)
