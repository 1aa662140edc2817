"""Recipes end to end: tiny real runs, one after another; checks before anything loads; resume by stages."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).parents[1] / "run"))
from run_files import run_record, teacher

from tide_core.compatibility import require_mix
from tide_core.config import LoadedRun, load_run
from tide_core.matrix.definition import load_matrix
from tide_core.problems import RunFileError
from tide_core.recipes.planning import plan_stages
from tide_core.recipes.staging import all_staged
from tide_core.registry import Registry
from tide_core.run import run
from tide_plugins.recipes import Chain, Rounds
from tide_specs import ConfigError, Stage

SDTT = {
    "teacher": teacher(),
    "student": teacher(),
    "alignment": "shared_vocabulary",
    "losses": [{"name": "reverse_kl", "temperature": 1.0}],
    "teacher_view": {"name": "sampler_steps", "sampler_steps": 8},
    "recipe": {"name": "rounds", "rounds": 2},
    "training": {"steps": 2},
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def loaded(folder: Path, registry: Registry, overrides: tuple[str, ...] = (), **sections: Any) -> LoadedRun:
    path = folder / "run.yaml"
    record = run_record(folder, **{**SDTT, **sections})
    path.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    return load_run(path, overrides, registry=registry)


def checked(found: LoadedRun, registry: Registry) -> list[str]:
    return [str(problem) for problem in require_mix(found.config, registry, found.source)]


def weights(student: Path) -> dict[str, Any]:
    return load_file(str(student / "model.safetensors"))


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)


def test_rounds_pass_the_student_on_and_double_the_step(tmp_path: Path, registry: Registry) -> None:
    found = loaded(tmp_path, registry)
    assert checked(found, registry) == []
    first, second = all_staged(found.config, registry, found.source)
    assert (first.config.teacher_view.dt, second.config.teacher_view.dt) == pytest.approx((0.999 / 8, 0.999 / 4))
    assert second.config.training.seed == first.config.training.seed + 1
    assert first.config.recipe is None

    outcome = run(found.config, registry, source=found.source)
    out = tmp_path / "out"
    assert (outcome.status, outcome.student) == ("finished", out / "student")
    record = json.loads((out / "round_2" / "config.json").read_text())
    assert record["teacher"]["model"] == record["student"]["model"] == str(out / "round_1" / "student")
    assert same(out / "student", out / "round_2" / "student")
    assert not same(out / "round_1" / "student", out / "round_2" / "student")

    # A recipe that is finished is recognised; one whose last stage is gone runs that stage alone, to the same end.
    before = (out / "round_1" / "stage.json").stat().st_mtime_ns
    kept = shutil.copytree(out / "student", tmp_path / "kept")
    shutil.rmtree(out / "round_2")
    run(found.config, registry, source=found.source)
    assert (out / "round_1" / "stage.json").stat().st_mtime_ns == before
    assert same(out / "student", kept)

    # What was trained on another student than there is now is refused by name.
    shutil.rmtree(out / "round_1")
    with pytest.raises(ConfigError, match=r"round_2: was trained on what stage round_1 made before it ran again"):
        run(found.config, registry, source=found.source)


def test_a_chain_distils_across_architectures_and_cuts_steps_then(tmp_path: Path, registry: Registry) -> None:
    small = teacher(tokenizer_from=teacher()["tokenizer_from"])
    small["config"] = {**small["config"], "hidden_size": 32, "intermediate_size": 48}
    stages = [
        {"name": "tide", "changes": {"losses": ["tidal"], "teacher_view": "complementary"}},
        {
            "name": "sdtt",
            "student": "tide",
            "teacher": "tide",
            "changes": {"teacher_view": {"name": "sampler_steps", "step": 0.25}, "training.steps": 1},
        },
    ]
    found = loaded(tmp_path, registry, student=small, recipe={"name": "chain", "stages": stages}, teacher_view="plain")
    assert checked(found, registry) == []
    plans = plan_stages(found.config, registry, found.source)
    assert {name: plan.steps for name, plan in plans.items()} == {"tide": 2, "sdtt": 1}
    assert [plan.teacher_passes for plan in plans.values()] == [2, 2]
    assert (
        plans["sdtt"].teachers[0].parameters == plans["sdtt"].student.parameters < plans["tide"].teachers[0].parameters
    )
    outcome = run(found.config, registry, source=found.source)
    assert outcome.status == "finished"
    record = json.loads((tmp_path / "out" / "sdtt" / "config.json").read_text())
    assert record["teacher"]["model"].endswith("tide/student")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"teacher_view": "plain"}, "in stage 'round_1'"),
        (
            {"recipe": {"name": "chain", "stages": [{"name": "one", "changes": {"losses": ["calmm"]}}]}},
            "in stage 'one': no loss is called 'calmm'",
        ),
        (
            {"recipe": {"name": "chain", "stages": [{"name": "one"}, {"name": "two", "changes": {"losses": ["uld"]}}]}},
            "in stage 'two': 'uld' compares",
        ),
        (
            {"recipe": {"name": "chain", "stages": [{"name": "one", "teacher": "zero"}]}},
            "stage 'one' takes its teacher from 'zero', which is no earlier stage (earlier: none)",
        ),
        ({"recipe": {"name": "chain", "stages": [{"name": "a"}, {"name": "a"}]}}, "two stages are called 'a'"),
        (
            {"teacher": teacher(form="autoregressive")},
            "an autoregressive teacher reads the clean text instead",
        ),
    ],
)
def test_every_stage_is_checked_before_the_first_begins(tmp_path, registry, sections, message: str) -> None:
    with pytest.raises(RunFileError) as caught:
        checked(loaded(tmp_path, registry, **sections), registry)
    assert message in str(caught.value)
    assert "run.yaml:" in str(caught.value), "the line is named"


def test_changes_of_the_command_line_reach_every_stage(tmp_path: Path, registry: Registry) -> None:
    found = loaded(tmp_path, registry, ("training.learning_rate=0.5", "recipe.rounds=3"))
    staged = all_staged(found.config, registry, found.source)
    assert [one.config.training.learning_rate for one in staged] == [0.5] * 3


def test_a_cell_of_a_matrix_that_is_several_runs_says_why_it_cannot_run(tmp_path: Path, registry: Registry) -> None:
    loaded(tmp_path, registry, recipe=None)
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text("base: run.yaml\naxes:\n  recipe: {one: null, rounds: rounds}\n", encoding="utf-8")
    one, several = load_matrix(matrix, registry=registry).matrix.cells
    assert one.possible
    assert several.reason == "recipe: recipe 'rounds' is several runs, and a cell of a matrix is one"


def test_bundled_recipes() -> None:
    assert [stage.student for stage in Rounds(rounds=3).compose()] == [None, "round_1", "round_2"]
    assert Rounds(rounds=2, counter=None).compose()[1] == Stage(name="round_2", student="round_1", teacher="round_1")
    chain = Chain.model_validate({"stages": [{"name": "one"}, {"name": "two", "student": "one"}]})
    assert chain.compose() == [Stage(name="one"), Stage(name="two", student="one")]
