"""What ``tide compare`` says of tiny real runs: differences, costs, what is held equal; and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from compared_runs import HELD_OUT, cells, copied, equalities, events, per_example

from tide_core.comparison.traits import name_of
from tide_core.matrix_report.student_t import quantile
from tide_plugins.architectures.huggingface import HuggingFace

Tide = Callable[..., tuple[int, str, str]]


def compared(tide: Tide, *arguments: str) -> dict[str, Any]:
    code, out, err = tide("compare", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def record(tide: Tide) -> dict[str, Any]:
    return compared(tide, "plain", "tide", "sdtt")


def test_the_difference_is_that_of_all_bits_over_all_bytes_and_its_interval_is_paired(record, made: Path) -> None:
    found = cells(record, "bits_per_byte")
    sizes = np.array(per_example(made / "plain", "bits_per_byte", "bytes"))
    bits = {name: np.array(per_example(made / name, "bits_per_byte", "bits")) for name in ("plain", "tide")}
    assert len(sizes) == HELD_OUT
    total = {name: one.sum() / sizes.sum() for name, one in bits.items()}
    assert found["plain"]["value"] == pytest.approx(total["plain"])
    assert "difference" not in found["plain"]
    difference = total["tide"] - total["plain"]
    assert found["tide"]["difference"] == pytest.approx(difference)
    # The delta method for a ratio of sums: residuals about the ratio, over the mean size.
    residuals = (bits["tide"] - bits["plain"] - difference * sizes) / sizes.mean()
    half = quantile(0.975, HELD_OUT - 1) * residuals.std(ddof=1) / np.sqrt(HELD_OUT)
    assert found["tide"]["difference_high"] - found["tide"]["difference"] == pytest.approx(half, rel=0.1)
    assert found["tide"]["difference_low"] == pytest.approx(
        2 * found["tide"]["difference"] - found["tide"]["difference_high"]
    )


def test_costs_are_summed_over_a_recipes_runs(record, made: Path) -> None:
    assert {name: cell["value"] for name, cell in cells(record, "optimizer steps").items()} == {
        "plain": 4,
        "tide": 2,
        "sdtt": 4,
    }
    assert {name: cell["value"] for name, cell in cells(record, "student forwards").items()} == {
        "plain": 4,
        "tide": 4,
        "sdtt": 4,
    }
    # Two rounds of two steps, in each of which the teacher takes two sub-steps.
    assert {name: cell["value"] for name, cell in cells(record, "teacher forwards").items()} == {
        "plain": 0,
        "tide": 4,
        "sdtt": 8,
    }
    assert cells(record, "rows the student learned from")["tide"]["value"] == 2 * 2 * 2
    assert cells(record, "rows the teacher read")["sdtt"]["value"] == 8 * 4
    one, two = (cells(record, "seconds, evaluation included")["sdtt"]["value"], 0.0)
    for name in ("round_1", "round_2"):
        log = events(made / "sdtt" / name)
        two += (np.datetime64(log[-1]["time"][:-6]) - np.datetime64(log[0]["time"][:-6])) / np.timedelta64(1, "s")
    assert one == pytest.approx(two, abs=0.01)


def test_traits_say_what_was_removed(record) -> None:
    assert cells(record, "sampler steps removed")["sdtt"]["value"] == 4
    assert cells(record, "sampler steps removed")["tide"]["text"] == "none"
    assert cells(record, "size removed")["tide"]["value"] > 1
    assert cells(record, "size removed")["sdtt"]["text"] == "none"
    assert cells(record, "tokenizers") == {
        "plain": {"text": "no teacher"},
        "tide": {"text": "different (byte_chunks)"},
        "sdtt": {"text": "the same (shared_vocabulary)"},
    }
    assert cells(record, "attention")["tide"]["text"] == "bidirectional → block_diffusion, blocks of 8"


def test_models_beside_us_are_named_from_here(tmp_path, monkeypatch) -> None:
    """A table that is passed on does not say where it was made."""
    monkeypatch.chdir(tmp_path)
    assert name_of(HuggingFace(model=str(tmp_path / "models" / "teacher"))) == "models/teacher"
    assert name_of(HuggingFace(model="org/teacher")) == "org/teacher"


def test_what_is_held_equal_is_said_with_the_numbers(record, tide: Tide) -> None:
    equal = dict(equalities(record))
    assert (equal["student forwards"], equal["optimizer steps"], equal["teacher forwards"]) == (True, False, False)
    assert (equal["teacher"], equal["training data"], equal["seed of the evaluation"]) == (False, True, False)
    _, out, _ = tide("compare", "plain", "tide", "sdtt")
    assert "equal teacher forwards: NO (plain: 0; tide: 4; sdtt: 8)" in out
    assert "equal student forwards: yes (4)" in out
    two = dict(equalities(compared(tide, "tide", "sdtt")))
    assert two["teacher"], "round 1 of the recipe learned from the same model"


def test_what_some_lack_is_named_and_distances_to_other_teachers_are_not_compared(record, tide: Tide) -> None:
    assert "teacher_divergence: plain was not evaluated by it." in record["notes"]
    assert "teacher_divergence/token_kl: tide has no such number, or none that is finite." in record["notes"]
    both = compared(tide, "tide", "sdtt")
    assert "difference" not in cells(both, "bernoulli_kl")["sdtt"]
    assert any("sdtt is not compared with tide: it is a distance to the teacher" in note for note in both["notes"])


def test_another_baseline_turns_differences_round(record, tide: Tide) -> None:
    turned = compared(tide, "plain", "mine=tide", "--baseline", "mine")
    assert turned["columns"] == ["mine", "plain"]
    one, other = cells(record, "bits_per_byte")["tide"], cells(turned, "bits_per_byte")["plain"]
    assert other["difference"] == pytest.approx(-one["difference"])
    assert other["difference_low"] == pytest.approx(-one["difference_high"])


def test_a_checkpoint_costs_what_it_took_until_then(tide: Tide, made: Path) -> None:
    found = compared(tide, "tide", "half=plain/checkpoints/step-000002", "plain/student")
    steps = {name: cell["value"] for name, cell in cells(found, "optimizer steps").items()}
    assert steps == {"tide": 2, "half": 2, "plain/student": 4}
    seconds = cells(found, "seconds, evaluation included")
    assert 0 < seconds["half"]["value"] < seconds["plain/student"]["value"]
    assert "bits_per_byte: half was not evaluated by it." in found["notes"]


def judge() -> str:
    from compared_runs import JUDGE

    return JUDGE


def test_a_stage_brings_the_stages_that_it_was_built_on(tide: Tide) -> None:
    found = compared(tide, "whole=sdtt.yaml", "first=sdtt/round_1")
    assert {name: cell["value"] for name, cell in cells(found, "optimizer steps").items()} == {"whole": 4, "first": 2}
    with_file = compared(tide, "first=sdtt/round_1", "second=sdtt/round_2")
    assert cells(with_file, "optimizer steps")["second"]["value"] == 4


def without(kind: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda log: [event for event in log if event["event"] != kind]


def other_data(held_out: Path) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    def change(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
        log[0]["config"]["data"]["evaluation_path"] = str(held_out)
        log[0]["facts"]["evaluation_data"] = "another"
        return log

    return change


def test_runs_that_are_not_finished_are_refused_by_name(tide: Tide, made: Path, tmp_path: Path) -> None:
    stopped = copied(made / "plain", tmp_path / "stopped", without("run_finished"))
    code, _, err = tide("compare", "tide", stopped)
    assert code == 2
    assert f"{stopped}: this run is not finished: step 4 of 4 is the newest that it logged" in err
    unfinished = tmp_path / "recipe"
    copied(made / "sdtt" / "round_1", unfinished / "round_1", list)
    assert "its recipe is not finished" in tide("compare", "tide", str(unfinished))[2]


def test_other_held_out_documents_are_refused_by_name_and_number(tide: Tide, made: Path, tmp_path: Path) -> None:
    lines = (made / "held_out.jsonl").read_text().splitlines()
    (tmp_path / "fewer.jsonl").write_text("\n".join(lines[:4]))
    fewer = copied(made / "plain", tmp_path / "fewer", other_data(tmp_path / "fewer.jsonl"))
    code, _, err = tide("compare", "tide", f"fewer={fewer}")
    assert code == 2
    assert "fewer: was evaluated on other held-out data than tide: 4 documents against 6, 4 of them the same" in err
    (tmp_path / "moved.jsonl").write_text("\n".join(lines))
    moved = copied(made / "plain", tmp_path / "moved", other_data(tmp_path / "moved.jsonl"))
    found = compared(tide, "tide", f"moved={moved}")
    assert "difference_low" in cells(found, "bits_per_byte")["moved"], "the same documents in another file"
    (tmp_path / "moved.jsonl").unlink()
    assert "moved: its held-out data cannot be read" in tide("compare", "tide", f"moved={moved}")[2]


def test_evaluators_with_other_options_are_not_compared(tide: Tide, made: Path, tmp_path: Path) -> None:
    def change(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
        log[0]["config"]["evaluation"][0]["forwards"] = 3
        return log

    other = copied(made / "plain", tmp_path / "other", change)
    found = compared(tide, "plain", f"other={other}")
    assert "difference" not in cells(found, "bits_per_byte")["other"]
    assert any("the evaluator ran with other options" in note for note in found["notes"])


def test_a_run_that_diverged_is_named(tide: Tide, made: Path, tmp_path: Path) -> None:
    def change(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for event in log:
            if event["event"] == "evaluation_finished":
                event["evaluation"]["metrics"]["bits_per_byte"] = {"value": "NaN", "low": None, "high": None}
        return log

    wild = copied(made / "plain", tmp_path / "wild", change)
    found = compared(tide, "plain", "tide", f"wild={wild}")
    assert cells(found, "bits_per_byte").keys() == {"plain", "tide"}
    assert "bits_per_byte/bits_per_byte: wild has no such number, or none that is finite." in found["notes"]


def test_other_bad_input(tide: Tide, made: Path, tmp_path: Path) -> None:
    bare = copied(made / "plain", tmp_path / "bare", without("evaluation_finished"))
    changed = yaml.safe_load((made / "plain.yaml").read_text())
    changed["training"]["learning_rate"] = 0.5
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed))
    changed["output"] = str(tmp_path / "nowhere")
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(changed))
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        (["plain"], "plain: one run alone cannot be compared"),
        (["plain", "plain/student"], "plain/student: is the same run as plain"),
        (["a=plain", "a=tide"], "two runs are called 'a'"),
        (["plain", "nothing"], "nothing: no such folder"),
        (["plain", str(tmp_path / "empty")], "holds no run"),
        (
            ["tide", bare],
            "no two of these runs were evaluated in the same way (tide: bits_per_byte, teacher_divergence;",
        ),
        (["tide", str(tmp_path / "changed.yaml")], "has changed since"),
        (["tide", str(tmp_path / "new.yaml")], "has not run yet"),
        (["plain", "tide", "--baseline", "tid"], "--baseline tid: is none of the runs"),
        (["plain", "tide", "--steps", "1,2"], "add --judge MODEL"),
        (["plain", "tide", "--judge", "x"], "say in how many steps"),
        (["plain", "tide", "--steps", "0", "--judge", "x"], "write whole numbers from 1 up"),
        (["plain", "tide", "--steps", "1", "--judge", "./x"], "--judge ./x: "),
        (["plain", "tide", "--steps", "1", "--judge", judge(), "--sampler", "{steps_per_block: 2}"], "said by --steps"),
        (
            ["plain", "tide", "--steps", "1", "--judge", judge(), "--sampler", "{commit: all}"],
            "--sampler {commit: all}: ",
        ),
        (["plain", "tide", "--html", str(tmp_path)], "is a folder"),
    ]:
        code, out, err = tide("compare", *arguments)
        assert (code, out) == (2, ""), arguments
        assert message in err, (arguments, err)
