"""The JSON Schema of matrix files, for editors and validators."""

from __future__ import annotations

import inspect

from tide_core.json_schema import Schema, component_reference, run_schema, tidy
from tide_core.registry import Registry

from .schema import MatrixFile


def matrix_schema(registry: Registry) -> Schema:
    """Return the JSON Schema (Draft 2020-12) of matrix files; a run that stands in one is checked as a run file is.

    What an axis may set depends on its name, which a schema cannot follow: ``tide matrix plan`` checks that.
    """
    run = run_schema(registry)
    definitions: Schema = run.pop("$defs")
    dialect = run.pop("$schema")
    run.pop("required")  # an axis may set what the base leaves out
    definitions["run"] = run
    plain = MatrixFile.model_json_schema()
    definitions.update({name: tidy(found) for name, found in plain.get("$defs", {}).items()})
    properties: Schema = {name: tidy(found) for name, found in plain["properties"].items()}
    for name, schema in {
        "base": {"type": ["string", "object"], "if": {"type": "object"}, "then": {"$ref": "#/$defs/run"}},
        "launcher": {**component_reference("launcher", registry, definitions), "default": "local"},
    }.items():
        properties[name] = {"description": MatrixFile.model_fields[name].description, **schema}
    return {
        "$schema": dialect,
        "title": "TIDE matrix",
        "description": inspect.cleandoc(MatrixFile.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": [name for name, field in MatrixFile.model_fields.items() if field.is_required()],
        "additionalProperties": False,
        "$defs": definitions,
    }
