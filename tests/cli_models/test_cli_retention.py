"""``tide evaluate --retention``: the teacher's scores and costs beside the student's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tide_core import retention
from tide_core.bench.measurement import measure
from tide_core.bench.protocol import Row
from tide_core.retention import Costs

ALONE = "evaluation=[{name: bits_per_byte, limit: 3, max_bytes: 120, forwards: 2}]"
QUICK = ("--retention", "--new-tokens", 8, "--repetitions", 1)


def test_the_teacher_is_scored_as_it_scores_itself(tide, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A process for each model, which `tide bench` is tested with, would take most of the time here.
    monkeypatch.setattr(retention, "run_job", measure)
    both = "evaluation=[{name: bits_per_byte, limit: 3, max_bytes: 120, forwards: 2, score_teacher: true}, {name: teacher_divergence, limit: 2}]"
    code, out, err = tide("evaluate", trained, *QUICK, "--set", both, "--json")
    assert code == 0, err
    record = json.loads(out)
    metrics = record["bits_per_byte"]["metrics"]
    (kept,) = record["retention"]
    (score,) = kept["scores"]  # the divergence compares with the teacher, which has none from itself
    assert score["student"] == metrics["bits_per_byte"]["value"]
    assert score["teacher"] == pytest.approx(metrics["teacher_bits_per_byte"]["value"], rel=1e-6)
    assert score["share"] == pytest.approx(score["teacher"] / score["student"])
    assert score["low"] <= score["share"] <= score["high"]
    costs = kept["costs"]
    sizes = {side: costs[side]["weights_bytes"] + costs[side]["working_bytes"] for side in ("student", "teacher")}
    assert kept["times_less_memory"] == pytest.approx(sizes["teacher"] / sizes["student"])
    assert score["per_memory"] == pytest.approx(score["share"] * kept["times_less_memory"])
    assert costs["student"]["tokens"] == costs["teacher"]["tokens"] == 8


def test_the_table(tide, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = Costs(student=row(seconds=0.5, weights_bytes=1 << 20), teacher=row(seconds=2.5, weights_bytes=22 << 20))
    monkeypatch.setattr(retention, "measure_costs", lambda *given, **options: costs)
    code, out, err = tide("evaluate", trained, *QUICK, "--set", ALONE)
    assert code == 0, err
    assert "kept of the teacher" in out
    assert "memory: 1.0 MiB against 22.0 MiB, 22.00x less" in out
    assert "latency of 8 tokens: 0.5 s against 2.5 s, 5.00x faster for each token" in out


def row(seconds: float, weights_bytes: int) -> Row:
    """What a measurement found, as far as the table shows it."""
    return Row(
        checkpoint="m",
        form="block_diffusion",
        sampler="block",
        batch_size=1,
        new_tokens=8,
        cache=True,
        prompt_tokens=4,
        tokens=8,
        seconds=seconds,
        seconds_low=seconds,
        seconds_high=seconds,
        forwards=8,
        positions=None,
        flops=None,
        weights_bytes=weights_bytes,
        working_bytes=0,
    )


def test_without_a_teacher_there_is_nothing_to_keep(tide, trained: Path) -> None:
    code, _, err = tide("evaluate", trained, *QUICK, "--set", ALONE, "--set", "teacher=null")
    assert code == 2
    assert "--retention: the run has no teacher" in err
