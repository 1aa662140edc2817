"""The JSON Schema accepts what the loader accepts, and a real validator reports the option that is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from config_toys import RUN
from jsonschema import Draft202012Validator

from tide_core.config import config_record, run_from_record
from tide_core.json_schema import run_schema, tidy
from tide_core.registry import BUILTIN, Registry
from tide_core.yaml_source import parse_value


@pytest.fixture(scope="module")
def validator(toys: Registry) -> Draft202012Validator:
    return Draft202012Validator(run_schema(toys))


@pytest.fixture(scope="module")
def bundled() -> Registry:
    return Registry.discover(environment={"TIDE_LOAD_PLUGINS": ""}, builtin=BUILTIN)


def keywords(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {word for item in schema for word in keywords(item)}
    if isinstance(schema, dict):
        return set(schema) | {word for item in schema.values() for word in keywords(item)}
    return set()


def test_it_is_a_schema_without_one_of(validator: Draft202012Validator, bundled: Registry) -> None:
    for schema in (validator.schema, run_schema(bundled)):
        Draft202012Validator.check_schema(schema)
        assert "oneOf" not in keywords(schema)


def test_it_accepts_a_run_file_and_the_record_of_it(validator: Draft202012Validator, toys: Registry) -> None:
    data = parse_value(RUN)
    assert list(validator.iter_errors(data)) == []
    assert list(validator.iter_errors(config_record(run_from_record(data, registry=toys)))) == []


def test_it_accepts_every_bundled_component_with_its_defaults(bundled: Registry) -> None:
    schema = run_schema(bundled)
    for field, kind in (
        ("losses", "loss"),
        ("schedule", "schedule"),
        ("observers", "observer"),
        ("sampler", "sampler"),
    ):
        for name, cls in bundled.classes(kind).items():
            if any(option.is_required() for option in cls.model_fields.values()):
                continue
            value = cls().model_dump(mode="json")
            for each in (name, value):
                part = {"$defs": schema["$defs"], **schema["properties"][field]}
                given = [each] if field in ("losses", "observers") else each
                assert list(Draft202012Validator(part).iter_errors(given)) == [], name


ERRORS = {
    "misspelt option": (
        "temperature: 5",
        "temprature: 5",
        ["losses", 1],
        "Additional properties are not allowed ('temprature' was unexpected)",
    ),
    "out of range": (
        "temperature: 5",
        "temperature: -5",
        ["losses", 1, "temperature"],
        "-5 is less than or equal to the minimum of 0",
    ),
    "wrong type": ("temperature: 5", "temperature: hot", ["losses", 1, "temperature"], "'hot' is not of type 'number'"),
    "unknown name": ("- cross_entropy", "- nobody", ["losses", 0], "'nobody' is not one of ["),
    "unknown name in a mapping": (
        "name: toy_data",
        "name: nobody",
        ["data", "name"],
        "'nobody' is not one of ['toy_data']",
    ),
    "no name": ("name: toy_data", "path: x", ["data"], "'name' is a required property"),
    "unknown section": ("training:", "trainning:", [], "('trainning' was unexpected)"),
    "section option": ("steps: 20", "steps: 0", ["training", "steps"], "0 is less than or equal to the minimum of 0"),
    "missing section": ("student: toy_model\n", "", [], "'student' is a required property"),
    "number or null": (
        "name: reverse_calm, temperature: 5",
        "name: objector, limit: 0",
        ["losses", 1, "limit"],
        "0 is less than the minimum of 1",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_validator_reports_exactly_the_option_that_is_wrong(case: str, validator: Draft202012Validator) -> None:
    old, new, path, message = ERRORS[case]
    errors = list(validator.iter_errors(parse_value(RUN.replace(old, new))))
    assert len(errors) == 1
    assert list(errors[0].absolute_path) == path
    assert message in errors[0].message


def test_options_carry_their_descriptions(validator: Draft202012Validator) -> None:
    options = validator.schema["$defs"]["loss.reverse_calm"]
    assert options["properties"]["temperature"]["description"] == "divides log-likelihoods"
    assert options["description"] == "Span by span."
    assert validator.schema["$defs"]["loss.objector"]["deprecated"] is True
    assert validator.schema["properties"]["training"]["description"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            {"anyOf": [{"type": "number", "minimum": 1}, {"type": "null"}], "default": None},
            {"type": ["number", "null"], "minimum": 1, "default": None},
        ),
        (
            {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]},
            {"type": ["string", "null"], "enum": ["a", "b", None]},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string", "title": "T"}}]},
            {"type": ["string", "array"], "items": {"type": "string"}},
        ),
        ({"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}, {"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}),
        (
            {"anyOf": [{"type": "integer"}, {"type": "number"}]},
            {"anyOf": [{"type": "integer"}, {"type": "number"}]},
        ),
        (
            {"properties": {"title": {"title": "Title", "type": "string"}}},
            {"properties": {"title": {"type": "string"}}},
        ),
    ],
)
def test_unions_of_different_types_become_one_schema(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert tidy(schema) == expected
