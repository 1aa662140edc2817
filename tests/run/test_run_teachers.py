"""Several teachers in one run file: two tokenizers at once, weights, evaluation, exact resume, and what is refused."""

from __future__ import annotations

import shutil

import pytest
from run_files import DEMO, losses, student, teacher, tide, write_run

from tide_core.compatibility import require_mix
from tide_core.config import config_record, load_run, run_from_record
from tide_core.problems import RunFileError
from tide_core.registry import Registry
from tide_core.run import run

OWN = str(DEMO / "student-tokenizer")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def two(**first):
    """A teacher with a vocabulary of its own, and one with the student's."""
    code = {"teacher": teacher(), "losses": [{"name": "reverse_calm", "weight": 0.5}], **first}
    prose = {
        "teacher": teacher(tokenizer_from=OWN),
        "alignment": "shared_vocabulary",
        "losses": ["forward_kl"],
        "weighting": {"name": "by_progress", "final": 2.0},
    }
    return {"teacher": None, "teachers": [code, prose], "losses": ["cross_entropy"], "student": student()}


def check(path, registry: Registry) -> None:
    loaded = load_run(path, registry=registry)
    require_mix(loaded.config, registry, loaded.source)


def test_a_run_learns_from_two_teachers_and_resumes_exactly(tmp_path, registry: Registry) -> None:
    sections = {**two(), "evaluation": ["teacher_divergence"]}
    (tmp_path / "whole").mkdir()
    config = load_run(write_run(tmp_path / "whole", **sections), registry=registry).config
    outcome = run(config, registry)
    logged = losses(tmp_path / "whole")
    assert {"loss/cross_entropy", "loss/teacher_1/reverse_calm", "loss/teacher_2/forward_kl"} <= set(logged[1])
    assert logged[1]["loss/teacher_2/forward_kl"] == 0.0, "by_progress starts at nothing"
    assert logged[6]["loss/teacher_2/forward_kl"] > 0.0
    assert {"teacher_divergence_teacher_1", "teacher_divergence_teacher_2"} == set(outcome.evaluations)
    assert any("token_kl" in name for name in outcome.evaluations["teacher_divergence_teacher_2"].metrics)

    (tmp_path / "parts").mkdir()
    parts = write_run(tmp_path / "parts", **{**two(), "training": {"checkpoint_every": 3}})
    first = load_run(parts, ["training.keep_checkpoints=9"], registry=registry).config
    run(first, registry)
    shutil.rmtree(tmp_path / "parts" / "out" / "checkpoints" / "step-000006")
    run(first, registry)
    assert losses(tmp_path / "parts")[6] == logged[6]


def test_the_record_of_a_run_with_teachers_is_a_run(tmp_path, registry: Registry) -> None:
    config = load_run(write_run(tmp_path, **two()), registry=registry).config
    record = config_record(config)
    assert run_from_record(record, registry=registry) == config
    assert [lesson.alignment.name for lesson in config.lessons()] == ["byte_chunks", "shared_vocabulary"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"teacher": teacher()}, "teacher: 'teacher' stands beside 'teachers' and would be of no use"),
        ({"alignment": "byte_chunks"}, "alignment: 'alignment' stands beside 'teachers' and would be of no use"),
        (
            {"losses": ["cross_entropy", "calm"]},
            "losses[1]: 'calm' compares the student with a teacher, but this run has several",
        ),
        (two(losses=["cross_entropy"]), "teachers[0].losses[0]: 'cross_entropy' looks at the student alone"),
        (two(losses=["forward_kl"]), "teachers[0].losses[0]: 'forward_kl' compares distributions token by token"),
        (two(weighting="by_confidence"), "teachers[0].weighting: 'by_confidence' shares the weight among the teachers"),
        (two(losses=["calmm"]), "teachers[0].losses[0]: no loss is called 'calmm'"),
        (
            two(losses=[{"name": "calm", "temprature": 1}]),
            "teachers[0].losses[0].temprature: unknown option 'temprature'",
        ),
        (two(weight=2), "teachers[0].weight: unknown option 'weight'"),
    ],
)
def test_a_mix_that_cannot_work_is_refused_by_line(tmp_path, registry: Registry, sections, message: str) -> None:
    path = write_run(tmp_path, **{**two(), **sections})
    with pytest.raises(RunFileError) as caught:
        check(path, registry)
    assert message in str(caught.value)
    assert f"{path}:" in str(caught.value), "the line is named"


def test_paths_of_teachers_are_looked_up_beside_the_run_file(tmp_path) -> None:
    sections = two()
    sections["teachers"][0]["teacher"] = {"name": "huggingface", "model": "./empty", "form": "bidirectional"}
    (tmp_path / "empty").mkdir()
    result = tide("run", str(write_run(tmp_path, **sections)))
    assert result.returncode != 0
    assert f"teachers[0].teacher: {tmp_path / 'empty'}" in result.stderr
