"""A valid run file becomes a RunConfig; records of it round-trip; differences are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from config_toys import RUN, Load, message_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tide_core.config import config_record, differences, load_run, run_from_record
from tide_core.registry import Registry
from tide_core.yaml_source import parse_value


def test_a_run_file_becomes_objects_with_defaults(load: Load) -> None:
    config = load(RUN).config
    assert [loss.name for loss in config.losses] == ["cross_entropy", "reverse_calm"]
    assert config.training.learning_rate == 5e-5
    assert config.teacher is not None
    assert config.teacher.plan()["parameters"] == 5_000_000
    assert (config.attention.name, config.alignment.name, config.schedule.name) == ("sdpa", "byte_chunks", "linear")
    assert [observer.name for observer in config.observers] == ["progress", "mlflow"]
    assert config.sampler is None
    assert config.output == str(Path("runs") / "run")


def test_a_name_alone_means_the_same_as_a_mapping(load: Load) -> None:
    short = load("{student: toy_model, data: toy_data}").config
    long = load("{student: {name: toy_model}, data: {name: toy_data}}").config
    assert short == long


def test_a_record_is_json_and_gives_the_same_run_back(load: Load, toys: Registry) -> None:
    config = load(RUN, ["evaluation=[divergence]", "sampler=toy_sampler", "training.betas=[0.8, 0.9]"]).config
    record = json.loads(json.dumps(config_record(config)))
    assert record["losses"][1] == {"name": "reverse_calm", "weight": 1.0, "temperature": 5.0}
    assert run_from_record(record, registry=toys) == config


def test_differences_name_the_fields(load: Load) -> None:
    old = config_record(load(RUN).config)
    new = config_record(load(RUN, ["training.steps=30", "losses[1].temperature=1", "attention=full_only"]).config)
    assert [str(each) for each in differences(old, new)] == [
        "attention: {'name': 'sdpa'} -> {'name': 'full_only'}",
        "losses[1].temperature: 5.0 -> 1.0",
        "training.steps: 20 -> 30",
    ]
    assert differences(old, old) == []


def test_inputs_beside_the_file_are_found_from_any_folder(toys: Registry, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("")
    (tmp_path / "weights").mkdir()
    file = tmp_path / "run.yaml"
    file.write_text("{student: {name: toy_model, model: weights}, data: {name: toy_data, path: train.jsonl}}")
    record = config_record(load_run(file, registry=toys).config)
    assert record["student"]["model"] == str(tmp_path / "weights")
    assert record["data"]["path"] == str(tmp_path / "train.jsonl")


def test_a_hub_name_and_a_path_from_the_command_line_stay_as_they_are(load: Load) -> None:
    Path("here.jsonl").write_text("")
    text = "{student: {name: toy_model, model: org/model}, data: toy_data}"
    record = config_record(load(text, ["data.path=here.jsonl"]).config)
    assert record["student"]["model"] == "org/model"
    assert record["data"]["path"] == "here.jsonl"


def test_anchors_and_merge_keys_work(load: Load) -> None:
    text = """\
student: &model {name: toy_model, parameters: 7}
teacher:
  <<: *model
  parameters: 8
data: toy_data
"""
    record = config_record(load(text).config)
    assert (record["student"]["parameters"], record["teacher"]["parameters"]) == (7, 8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-5", 5e-5),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-1_000", -1000),
        ("on", "on"),
        ("no", "no"),
        ("true", True),
        ("null", None),
        ("", None),
        ("2024-01-01", "2024-01-01"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("[a, 1]", ["a", 1]),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


class TestOverrides:
    def test_values_are_parsed_like_those_of_a_file(self, load: Load) -> None:
        config = load(RUN, ["training.steps=3", "losses[1]={name: forward_kl, temperature: 3}"]).config
        assert config.training.steps == 3
        assert config_record(config)["losses"][1] == {"name": "forward_kl", "weight": 1.0, "temperature": 3.0}

    def test_a_bare_name_takes_options(self, load: Load) -> None:
        config = load(RUN, ["losses[0].weight=0.5", "student.block_size=4"]).config
        assert config.losses[0].weight == 0.5
        assert config.student.length_multiple == 4

    def test_a_list_can_be_extended_and_a_default_changed(self, load: Load) -> None:
        config = load(RUN, ["losses[2]=forward_kl", "observers[1].experiment=mine"]).config
        assert [loss.name for loss in config.losses] == ["cross_entropy", "reverse_calm", "forward_kl"]
        assert config_record(config)["observers"][1] == {"name": "mlflow", "experiment": "mine"}

    def test_a_section_can_be_removed(self, load: Load) -> None:
        assert load(RUN, ["teacher=null", "losses=[cross_entropy]"]).config.teacher is None

    def test_a_later_one_wins(self, load: Load) -> None:
        assert load(RUN, ["training.steps=3", "training={steps: 4}", "training.seed=1"]).config.training.steps == 4

    def test_an_alias_is_changed_in_one_place_only(self, load: Load) -> None:
        text = "{student: &m {name: toy_model, parameters: 7}, teacher: *m, data: toy_data}"
        record = config_record(load(text, ["student.parameters=9"]).config)
        assert (record["student"]["parameters"], record["teacher"]["parameters"]) == (9, 7)

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("training.steps", "--set training.steps: write  --set PATH=VALUE"),
            ("training..steps=1", "--set training..steps=1: 'training..steps' is no path"),
            ("[0]=1", "'[0]' is no path"),
            ("losses[9]=calm", "--set losses[9]=calm: there is no [9]; the list has 2 items"),
            ("losses[7].weight=1", "--set losses[7].weight=1: there is no [7]; the list has 2 items"),
            ("training[0]=1", "[0] needs a list, but there is {"),
            ("training.steps.more=1", "'more' cannot be set inside 20"),
            ("training.steps=[1", "--set training.steps=[1: the value is not valid YAML"),
            ("training.steps=0", "--set training.steps=0: training.steps: must be greater than 0; it is 0"),
            ("losses[0].wieght=1", "--set losses[0].wieght=1: losses[0].wieght: unknown option 'wieght'; did you mean"),
            ("trainin.steps=1", "--set trainin.steps=1: trainin: unknown section 'trainin'; did you mean 'training'?"),
        ],
    )
    def test_errors_name_the_override(self, override: str, message: str, load: Load) -> None:
        assert message in message_of(load, RUN, [override])


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text("aé ☃", max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
@settings(max_examples=80, deadline=None)
def test_plain_json_reads_back_as_itself(value: object) -> None:
    assert parse_value(json.dumps(value)) == value
