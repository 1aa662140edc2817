"""The JSON Schema of matrix files accepts what the loader accepts, and marks the part that is wrong."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from tide_core.matrix.json_schema import matrix_schema
from tide_core.yaml_source import parse_value

MATRIX = """
base: {student: {name: toy_model, parameters: 5}, data: toy_data, losses: [cross_entropy]}
axes:
  training.seed: [0, 1]
  size: {small: {set: {student.parameters: 5}}, large: {set: {student.parameters: 7}}}
derived: {student.model: "{size}"}
exclude: [{size: small, training.seed: 1}]
launcher: {name: local, devices: ["0"]}
workers: 2
"""


@pytest.fixture(scope="module")
def validator(toys):
    Draft202012Validator.check_schema(matrix_schema(toys))
    return Draft202012Validator(matrix_schema(toys))


def test_it_accepts_a_matrix_whose_base_is_a_file_or_a_run(validator):
    data = parse_value(MATRIX)
    assert list(validator.iter_errors(data)) == []
    assert list(validator.iter_errors({**data, "base": "run.yaml", "launcher": "local"})) == []


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ("parameters: 5}", "parametres: 5}", ["base", "student"]),
        ("workers: 2", "workers: 0", ["workers"]),
        ("name: local", "name: lokal", ["launcher", "name"]),
        ("axes:", "axis:", []),
    ],
)
def test_it_marks_the_part_that_is_wrong(validator, right, wrong, place):
    errors = list(validator.iter_errors(parse_value(MATRIX.replace(right, wrong, 1))))
    assert [list(error.absolute_path) for error in errors if list(error.absolute_path) == place]


def test_the_command_prints_it(tide):
    code, printed, _ = tide("schema", "matrix")
    assert code == 0 and json.loads(printed)["title"] == "TIDE matrix"
    assert json.loads(tide("schema")[1])["title"] == "TIDE run"
