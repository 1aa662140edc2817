"""``tide compare --steps``: what students and their teacher write in few steps, under a judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compared_runs import JUDGE, copied, equalities

from tide_core.checkpoint_evaluation import evaluate_student
from tide_core.config import load_record
from tide_core.registry import Registry

Tide = Callable[..., tuple[int, str, str]]
NEW = 8


def lines(record: dict[str, Any], group: str) -> dict[str, dict[str, Any]]:
    return {line["quantity"]: line["cells"] for line in record["lines"] if line["group"] == group}


def test_samples_of_students_and_teacher(tide: Tide, made: Path, registry: Registry) -> None:
    asked = ["--steps", "2,1", "--judge", JUDGE, "--prompts", "3", "--new-tokens", str(NEW), "-b", "2"]
    code, out, err = tide("compare", "tide", "sdtt", *asked, "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["columns"] == ["tide", "sdtt", "the teacher"], "one teacher, whose weights both began with"
    for group in ("samples, 1 step", "samples, 2 steps", "samples, all steps"):
        found = lines(record, group)
        assert found["bits per byte under the judge"].keys() == {"tide", "sdtt", "the teacher"}
        assert found["entropy of a sample's tokens, bits"].keys() == {"tide", "sdtt", "the teacher"}
    evaluations = {
        group: lines(record, group)["network evaluations (NFE)"] for group in ("samples, 2 steps", "samples, all steps")
    }
    # A model without blocks writes the whole text as one: k steps are k passes, but for steps that uncover nothing.
    assert 1 <= evaluations["samples, 2 steps"]["the teacher"]["value"] <= 2
    assert evaluations["samples, all steps"]["the teacher"]["value"] <= NEW
    # Blocks of 8 make more passes of the same k, and that is said.
    assert evaluations["samples, 2 steps"]["tide"]["value"] > 2
    assert dict(equalities(record))["NFE, 2 steps"] is False
    assert "bits per byte under the judge" in lines(record, "what people wrote for the same prompts")

    # The same numbers as the evaluator gives by itself.
    sampler = "{name: block, commit: first_hitting, temperature: 1, steps_per_block: 1}"
    options = (
        f"{{name: generation, judge: {JUDGE}, sampler: {sampler}, limit: 3, max_new_tokens: {NEW}, batch_size: 2}}"
    )
    config = json.loads((made / "tide" / "config.json").read_text())
    alone = load_record(config, "tide", [f"evaluation=[{options}]"], registry=registry).config
    student = alone.student.saved_at(str(made / "tide" / "student"))
    (found,) = evaluate_student(alone.model_copy(update={"student": student}), registry).values()
    ours = lines(record, "samples, 1 step")
    assert ours["bits per byte under the judge"]["tide"]["value"] == found.metrics["judge_bits_per_byte"].value
    assert ours["entropy of a sample's tokens, bits"]["tide"]["value"] == found.metrics["token_entropy"].value
    assert ours["network evaluations (NFE)"]["tide"]["value"] == found.metrics["forwards"].value / 2


@pytest.mark.parametrize(
    ("judge", "what"), [("sdtt/round_1/student", "a teacher of sdtt"), ("tide/student", "the student of tide")]
)
def test_the_judge_is_none_of_those_that_it_judges(tide: Tide, judge: str, what: str) -> None:
    code, _, err = tide("compare", "tide", "sdtt", "--steps", "1", "--judge", judge)
    assert code == 2
    assert f"student: is {what}, whose own habits it would find likely" in err


def test_documents_that_leave_nothing_to_write_are_told_of(tide: Tide, made: Path, tmp_path: Path) -> None:
    (tmp_path / "short.jsonl").write_text('{"text": "x = 1"}')

    def change(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
        log[0]["config"]["data"]["evaluation_path"] = str(tmp_path / "short.jsonl")
        return log

    copies = [f"{name}={copied(made / 'plain', tmp_path / name, change)}" for name in ("one", "two")]
    code, _, err = tide("compare", *copies, "--steps", "1", "--judge", JUDGE)
    assert code == 2
    assert "one: none of the held-out documents that --prompts takes leaves anything to write" in err
