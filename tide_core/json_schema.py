"""The JSON Schema of run files, for editors and validators.

A component is an ``enum`` of names plus, for each name, an ``if``/``then`` that refers to its options. There is no
``oneOf`` and no ``anyOf`` around components, so that a validator names the very option that is wrong.
"""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import create_model
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

from tide_specs import Component

from .registry import Registry
from .run_schema import COMPONENT_FIELDS, LISTS, OPTIONAL, SHORTHANDS, Lesson, RunConfig
from .settings import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def run_schema(registry: Registry) -> Schema:
    """Return the JSON Schema (Draft 2020-12) of the run files that this registry's components allow."""
    definitions: Schema = {}
    plain = _plain_sections(definitions)
    plain["teachers"] = _teachers(registry, definitions)
    properties = {
        name: _component_field(RunConfig, name, registry, definitions) if name in COMPONENT_FIELDS else plain[name]
        for name in RunConfig.model_fields
    }
    return {
        "$schema": DIALECT,
        "title": "TIDE run",
        "description": inspect.cleandoc(RunConfig.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": [name for name, field in RunConfig.model_fields.items() if field.is_required()],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _plain_sections(definitions: Schema) -> Schema:
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in RunConfig.model_fields.items()
        if name not in COMPONENT_FIELDS and name != "teachers"
    }
    schema = create_model("Sections", __base__=Settings, **fields).model_json_schema()
    definitions.update({name: tidy(found) for name, found in schema.get("$defs", {}).items()})
    return {name: tidy(found) for name, found in schema["properties"].items()}


def _teachers(registry: Registry, definitions: Schema) -> Schema:
    fields = Lesson.model_fields
    definitions["Lesson"] = {
        "type": "object",
        "description": inspect.cleandoc(Lesson.__doc__ or ""),
        "properties": {name: _component_field(Lesson, name, registry, definitions) for name in fields},
        "required": [name for name, field in fields.items() if field.is_required()],
        "additionalProperties": False,
    }
    description = RunConfig.model_fields["teachers"].description
    return {"description": description, "type": "array", "items": {"$ref": "#/$defs/Lesson"}, "default": []}


def _component_field(model: type[Settings], field: str, registry: Registry, definitions: Schema) -> Schema:
    kind, info = COMPONENT_FIELDS[field], model.model_fields[field]
    optional = field in OPTIONAL and not info.is_required()
    reference = component_reference(kind, registry, definitions, optional=optional)
    schema: Schema = {"description": info.description}
    if field in LISTS:
        schema |= {"type": "array", "items": reference}
        schema |= {"minItems": 1} if field == "losses" else {}
    else:
        schema |= reference
    return schema if info.is_required() else {**schema, "default": info.default}


def component_reference(kind: str, registry: Registry, definitions: Schema, *, optional: bool = False) -> Schema:
    """Return a reference to the schema of a kind's components, which is put into ``definitions``."""
    key = f"{kind}.or_null" if optional else kind
    if key not in definitions:
        definitions[key] = {}
        definitions[key] = _kind_schema(kind, registry, definitions, optional=optional)
    return {"$ref": f"#/$defs/{key}"}


def _kind_schema(kind: str, registry: Registry, definitions: Schema, *, optional: bool) -> Schema:
    classes = registry.classes(kind)
    cases: list[Schema] = []
    for name, cls in classes.items():
        key = f"{kind}.{name}"
        if key not in definitions:
            definitions[key] = _options(cls, key, definitions)
        condition = {"properties": {"name": {"const": name}}, "required": ["name"]}
        cases.append({"if": condition, "then": {"$ref": f"#/$defs/{key}"}})
    names = {"enum": list(classes), "enumDescriptions": [registry.summary(cls) for cls in classes.values()]}
    bare = [name for name, cls in classes.items() if not any(f.is_required() for f in cls.model_fields.values())]
    mapping: Schema = {"required": ["name"], "properties": {"name": names}, **({"allOf": cases} if cases else {})}
    option, meant = SHORTHANDS.get(kind, ("", ""))
    if meant in classes:
        unnamed = {"required": [option], "not": {"required": ["name"]}}
        mapping = {"if": unnamed, "then": {"$ref": f"#/$defs/{kind}.{meant}"}, "else": mapping}
    return {
        "type": ["string", "object", *(["null"] if optional else [])],
        "if": {"type": "string"},
        "then": {"enum": bare},
        "else": {"if": {"type": "object"}, "then": mapping},
    }


def _options(cls: type[Component], key: str, definitions: Schema) -> Schema:
    description = inspect.cleandoc(cls.__doc__ or "")
    try:
        schema = cls.model_json_schema(ref_template=f"#/$defs/{key}.{{model}}")
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError):
        # An option of a type that JSON Schema cannot express: its validator still runs when the file is loaded.
        return {"description": description, "type": "object"}
    for name, nested in schema.pop("$defs", {}).items():
        definitions[f"{key}.{name}"] = tidy(nested)
    out = tidy(schema)
    return {**out, "description": description, **({"deprecated": True} if cls.deprecated else {})}


def tidy(schema: Any) -> Any:
    """Drop titles, and fold ``anyOf`` branches of different types into one schema with a list of types."""
    if isinstance(schema, list):
        return [tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: tidy(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    branches = out.get("anyOf")
    merged = _merge(branches) if isinstance(branches, list) else None
    if merged is not None:
        del out["anyOf"]
        out = {**merged, **out}
    return out


def _merge(branches: list[Schema]) -> Schema | None:
    """One schema for branches whose types are disjoint; ``None`` where keywords of one would bear on another."""
    types = [branch.get("type") for branch in branches]
    if any(not isinstance(found, str) for found in types) or len(set(types)) < len(types):
        return None
    if {"integer", "number"} <= set(types):
        return None
    out: Schema = {"type": types}
    choices = [branch for branch in branches if "enum" in branch or "const" in branch]
    if choices:
        if len(choices) + types.count("null") < len(branches):
            return None
        values = [value for branch in choices for value in branch.get("enum", [branch.get("const")])]
        return {**out, "enum": [*values, *([None] if "null" in types else [])]}
    for branch in branches:
        extra = {key: value for key, value in branch.items() if key != "type"}
        if set(extra) & set(out):
            return None
        out |= extra
    return out
