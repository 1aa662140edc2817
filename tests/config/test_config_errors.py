"""Bad run files: one message with file, line, field, a suggestion and the plugin concerned; everything at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from config_toys import RUN, Load, message_of

from tide_core.config import load_run, validate_run
from tide_core.discovery import PluginRecord
from tide_core.registry import Registry
from tide_core.yaml_source import Source
from tide_specs import ConfigError

CASES = {
    "unknown component": (
        "  - cross_entropy",
        "  - cross_entrpy",
        "run.yaml:6: losses[0]: no loss is called 'cross_entrpy'; did you mean 'cross_entropy'?",
    ),
    "name missing": (
        "  name: toy_data",
        "  path: x",
        "run.yaml:2: data: which dataset? give its name: toy_data",
    ),
    "misspelt option": (
        "temperature: 5",
        "temprature: 5",
        "run.yaml:7: losses[1].temprature: unknown option 'temprature'; did you mean 'temperature'?\n"
        "    options of loss 'reverse_calm': weight, temperature\n"
        "    loss 'reverse_calm' comes from plugin 'toy_components'",
    ),
    "wrong type": (
        "temperature: 5",
        "temperature: hot",
        "run.yaml:7: losses[1].temperature: must be a valid number, unable to parse string as a number; it is 'hot'\n"
        "    loss 'reverse_calm' comes from plugin 'toy_components'",
    ),
    "out of range": (
        "temperature: 5",
        "temperature: -5",
        "run.yaml:7: losses[1].temperature: must be greater than 0; it is -5",
    ),
    "true for a number": ("steps: 20", "steps: true", "run.yaml:9: training.steps: must be a number; it is true"),
    "unknown section": (
        "training:",
        "trainning:",
        "run.yaml:8: trainning: unknown section 'trainning'; did you mean 'training'?",
    ),
    "unknown option of a section": (
        "steps: 20",
        "step: 20",
        "run.yaml:9: training.step: unknown option 'step'; did you mean 'steps'?\n    options of 'training': steps,",
    ),
    "not a list": (
        "losses:\n  - cross_entropy\n  - {name: reverse_calm, temperature: 5}",
        "losses: cross_entropy",
        "run.yaml:5: losses: must be a list, not 'cross_entropy'; write  losses: [...]",
    ),
    "empty list": (
        "losses:\n  - cross_entropy\n  - {name: reverse_calm, temperature: 5}",
        "losses: []",
        "run.yaml:5: losses: needs at least 1 item, but has 0",
    ),
    "not a component": (
        "student: toy_model",
        "student: 3",
        "run.yaml:1: student: write the name of the architecture, or a mapping with its name and options, not 3",
    ),
    "section that is no section": (
        "training:\n  steps: 20\n  learning_rate: 5e-5",
        "training: fast",
        "run.yaml:8: training: must be a section of options, not 'fast'",
    ),
    "missing section": ("student: toy_model\n", "", "run.yaml: student: is required"),
    "one of several values": (
        "steps: 20",
        "precision: fp8",
        "run.yaml:9: training.precision: must be 'float32' or 'bf16'; it is 'fp8'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_message_says_where_what_and_what_to_do(case: str, load: Load) -> None:
    old, new, message = CASES[case]
    assert old in RUN
    assert message in message_of(load, RUN.replace(old, new))


def test_everything_wrong_is_reported_at_once_in_the_order_of_the_file(load: Load) -> None:
    text = RUN.replace("temperature: 5", "temperature: -5").replace("steps: 20", "stepz: 20") + "sampler: nobody\n"
    lines = [line for line in message_of(load, text).splitlines() if not line.startswith("    ")]
    assert [line.split(": ")[0] for line in lines] == ["run.yaml:7", "run.yaml:9", "run.yaml:11"]


def test_an_item_that_is_wrong_does_not_make_its_list_short(load: Load) -> None:
    message = message_of(load, "{student: toy_model, data: toy_data, losses: [nobody]}")
    assert "needs at least" not in message


def test_a_default_that_is_not_installed_says_so(toys: Registry) -> None:
    kept = tuple(cls for record in toys.plugins for cls in record.components if cls.kind != "attention")
    without = Registry([PluginRecord(name="toys", distribution="toys", version="1", components=kept)])
    with pytest.raises(ConfigError) as caught:
        validate_run(Source("run.yaml", data={"student": "toy_model", "data": "toy_data"}), without)
    assert "run.yaml: attention: no attention is called 'sdpa'" in str(caught.value)
    assert "it is the default of 'attention'" in str(caught.value)


def test_a_number_or_nothing_is_explained_as_such(load: Load) -> None:
    text = "{student: toy_model, data: toy_data, losses: [{name: objector, limit: 0}]}"
    assert "losses[0].limit: must be greater than or equal to 1; it is 0" in message_of(load, text)


YAML_CASES = {
    "student: [toy_model\ndata: x\n": "run.yaml:2: is not valid YAML: ",
    "student: a\n\tdata: b\n": "run.yaml:2: is not valid YAML: ",
    "student: a\ndata: b\nstudent: c\n": "run.yaml:3: 'student' is given twice; first on line 1",
    "data:\n  path: a\n  path: b\n": "run.yaml:3: 'path' is given twice; first on line 2",
    "losses: [{weight: 1, weight: 2}]\n": "run.yaml:1: 'weight' is given twice; first on line 1",
    "": "run.yaml: is empty",
    "# nothing but a remark\n": "run.yaml: is empty",
    "- a\n- b\n": "run.yaml:1: a run file is a mapping of sections",
    "1: a\n": "run.yaml:1: the key '1' is not a word; quote it",
    "a: &x [*x]\n": "run.yaml:1: contains itself through an alias",
    "student: !!python/object/apply:os.system ['true']\n": "run.yaml:1: is not valid YAML: could not determine a constructor",
    "a: b\n---\nc: d\n": "run.yaml:2: is not valid YAML: but found another document",
    "a: *nobody\n": "run.yaml:1: is not valid YAML: found undefined alias",
}


@pytest.mark.parametrize("text", YAML_CASES)
def test_broken_yaml_names_its_line(text: str, load: Load) -> None:
    assert YAML_CASES[text] in message_of(load, text)


def test_files_that_cannot_be_read(toys: Registry, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_run(tmp_path / "nowhere.yaml", registry=toys)
    with pytest.raises(ConfigError, match="is a folder; name a run file"):
        load_run(tmp_path, registry=toys)
    (tmp_path / "latin.yaml").write_bytes(b"student: caf\xe9\n")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_run(tmp_path / "latin.yaml", registry=toys)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_file_without_permission(toys: Registry, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("student: x\n")
    (tmp_path / "secret.yaml").chmod(0)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_run(tmp_path / "secret.yaml", registry=toys)


def test_a_byte_order_mark_is_no_obstacle(toys: Registry, tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + RUN.encode())
    assert load_run(tmp_path / "bom.yaml", registry=toys).config.training.steps == 20
