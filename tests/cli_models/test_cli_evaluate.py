"""``tide evaluate``: the numbers of the run that trained the student, without training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from run_files import events


def evaluated(tide, *arguments: object) -> dict:
    code, out, err = tide("evaluate", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def values(evaluation: dict) -> dict[str, float]:
    return {name: estimate["value"] for name, estimate in evaluation["metrics"].items()}


def test_a_saved_student_scores_what_its_run_reported(tide, trained: Path) -> None:
    reported = {e["evaluator"]: e["evaluation"] for e in events(trained.parent, "evaluation_finished")}
    assert set(reported) == {"bits_per_byte", "teacher_divergence"}
    for found in (evaluated(tide, trained), evaluated(tide, trained / "student", "--run", trained.parent / "run.yaml")):
        for name, evaluation in reported.items():
            assert values(found[name]) == pytest.approx(values(evaluation), rel=1e-6)


def test_the_table_shows_intervals(tide, trained: Path) -> None:
    code, out, _ = tide("evaluate", trained)
    assert code == 0
    assert "95 % interval" in out
    (line,) = [line for line in out.splitlines() if line.split()[1:2] == ["bits_per_byte"]]
    found = evaluated(tide, trained)["bits_per_byte"]["metrics"]["bits_per_byte"]
    assert f"{found['low']:.4f} to {found['high']:.4f}" in line


@pytest.fixture
def lost_teacher(trained: Path, tmp_path: Path) -> Path:
    """The run file with a teacher that is not there."""
    record = yaml.safe_load((trained.parent / "run.yaml").read_text())
    record["teacher"] = {"name": "huggingface", "model": "./lost", "form": "bidirectional"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(record))
    return tmp_path / "run.yaml"


def test_the_teacher_is_loaded_only_for_an_evaluator_that_looks_at_it(tide, trained: Path, lost_teacher: Path) -> None:
    alone = "evaluation=[{name: bits_per_byte, limit: 3, max_bytes: 200}]"
    found = evaluated(tide, trained, "--run", lost_teacher, "--set", alone)
    assert set(found) == {"bits_per_byte"}
    for option in ("teacher_divergence", "{name: bits_per_byte, score_teacher: true}"):
        code, _, err = tide("evaluate", trained, "--run", lost_teacher, "--set", f"evaluation=[{option}]")
        assert code == 2
        assert "teacher: ./lost: no such directory" in err


def test_another_students_form_is_its_own(tide, trained: Path, autoregressive: Path) -> None:
    """A model that the run file knows nothing of, an autoregressive one even, is scored on the same texts."""
    found = evaluated(tide, trained, "--set", "evaluation=[{name: bits_per_byte, limit: 3, max_bytes: 200}]")
    architecture = "{name: huggingface, form: block_diffusion, block_size: 4}"
    other = evaluated(
        tide,
        autoregressive,
        "--architecture",
        architecture,
        "--run",
        trained.parent / "run.yaml",
        "--set",
        "evaluation=[{name: bits_per_byte, limit: 3, max_bytes: 200}]",
    )
    assert values(other["bits_per_byte"])["bytes"] == values(found["bits_per_byte"])["bytes"]


def test_errors(tide, trained: Path, autoregressive: Path, tmp_path: Path) -> None:
    cases = [
        ((tmp_path / "nowhere",), "no such folder; name a run folder"),
        ((autoregressive,), "no run is recorded beside it; name a run file with --run RUN.yaml"),
        (
            (trained, "--set", "evaluation=[]"),
            "the run names no evaluator; add one, or  --set evaluation=[bits_per_byte]",
        ),
        ((trained, "--run", tmp_path / "no.yaml"), "no.yaml: no such file"),
        ((trained, "--set", "evaluation=[bits_per_bite]"), "did you mean 'bits_per_byte'?"),
        ((trained, "--set", "teacher=null"), "'teacher_divergence' compares the student with a teacher"),
        (
            (trained, "--set", "data={name: jsonl, path: none.jsonl}"),
            "--set data={name: jsonl, path: none.jsonl}: data: none.jsonl: cannot be read: No such file or directory",
        ),
    ]
    for arguments, message in cases:
        code, out, err = tide("evaluate", *arguments)
        assert (code, out) == (2, ""), err
        assert message in err
        assert "Traceback" not in err
