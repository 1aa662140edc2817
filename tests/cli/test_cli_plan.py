"""``tide plan``: counts of visible pairs against the layouts themselves, arithmetic against a sum by hand."""

from __future__ import annotations

import json

import pytest

from tide_core.cli.plan import quantity
from tide_core.plan import positions, visible_pairs
from tide_specs import AttentionLayout, BlockCausal, BlockDiffusion, Causal, Full


@pytest.mark.parametrize(
    ("form", "passes", "layout"),
    [
        ("bidirectional", 1, Full(length=48)),
        ("autoregressive", 1, Causal(length=48)),
        ("block_causal", 1, BlockCausal(length=48, block=8)),
        ("block_diffusion", 1, BlockDiffusion(length=48, block=8)),
        ("block_diffusion", 2, BlockDiffusion(length=48, block=8, streams=2)),
    ],
)
def test_pairs_and_positions_are_those_of_the_layout(form: str, passes: int, layout: AttentionLayout) -> None:
    assert visible_pairs(form, 48, 8, passes) == int(layout.dense().sum())
    assert positions(form, 48, passes) == layout.query_length


def test_two_passes_cost_twice_where_nothing_is_shared() -> None:
    assert visible_pairs("bidirectional", 48, 1, 2) == 2 * 48 * 48
    assert positions("bidirectional", 48, 2) == 96
    assert positions("autoregressive", 48, 2) == 48


def test_the_numbers_are_a_sum_that_can_be_done_by_hand(tide) -> None:
    code, out, _ = tide("plan", "run.yaml", "--json")
    assert code == 0
    plan = json.loads(out)
    rows, length, hidden, layers, columns, masked = 6, 512, 256, 6, 1000, plan["masked_share"]
    assert masked == pytest.approx(0.5005, abs=1e-4)  # t is uniform on [0.001, 1] and 1 - alpha(t) = t
    pairs = length * 32 + length * (length - 32) / 2 + length * (length + 32) / 2
    body = 1_000_000 - hidden * columns
    student = 3 * (2 * body * 2 * length + 4 * hidden * layers * pairs) + 3 * 2 * hidden * columns * masked * length
    teacher = (
        2 * (4_000_000 - hidden * columns) * length
        + 4 * hidden * layers * length**2
        + 2 * hidden * columns * masked * length
    )
    assert plan["student"]["flops"] == pytest.approx(rows * student)
    assert plan["teachers"][0]["flops"] == pytest.approx(rows * teacher)
    assert plan["teacher_share"] == pytest.approx(teacher / (teacher + student))
    assert plan["flops"] == pytest.approx(100 * rows * (teacher + student))
    assert plan["tokens"] == 100 * rows * length
    memory = plan["memory"]
    assert memory["student weights (float32 masters)"] == memory["gradients"] == 4_000_000
    assert memory["AdamW moments"] == 8_000_000
    assert memory["teacher weights"] == 2 * 4_000_000
    assert memory["head slices (logits, float32)"] == 12_000
    assert plan["bytes"] == sum(memory.values())


def test_checkpointing_trades_memory_for_arithmetic(tide) -> None:
    plain = json.loads(tide("plan", "run.yaml", "--json")[1])
    traded = json.loads(tide("plan", "run.yaml", "--json", "--set", "training.gradient_checkpointing=true")[1])
    assert traded["memory"]["student activations"] < plain["memory"]["student activations"] / 10
    assert plain["student"]["flops"] < traded["student"]["flops"] < plain["student"]["flops"] * 4 / 3


def test_the_table_shows_models_memory_and_totals(tide) -> None:
    code, out, _ = tide("plan", "run.yaml")
    assert code == 0
    assert "teacher: toy_model" in out
    assert "4.0 M" in out
    assert "frozen" in out
    assert "in all" in out
    assert "teacher: 1 pass a step" in out


def test_without_a_teacher(tide) -> None:
    code, out, _ = tide("plan", "run.yaml", "--set", "teacher=null", "--set", "losses=[cross_entropy]")
    assert code == 0
    assert "teacher" not in out


def test_a_model_that_does_not_know_its_size(tide) -> None:
    _, out, _ = tide("plan", "run.yaml", "--set", "teacher.parameters=0")
    assert "unknown" in out
    assert "an architecture did not say how large it is, so the totals leave it out" in out


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "", "0"),
        (999, "", "999"),
        (1000, "", "1.0 k"),
        (12_345_678, "", "12.3 M"),
        (1536, "B", "1.5 KiB"),
        (5, "B", "5 B"),
    ],
)
def test_quantities_are_short(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_several_teachers_are_added_up(tide) -> None:
    one = "{teacher: {name: toy_model, parameters: 4000000}, losses: [reverse_calm]}"
    options = ["--set", "teacher=null", "--set", "losses=[cross_entropy]"]
    code, out, _ = tide("plan", "run.yaml", "--json", *options, "--set", f"teachers=[{one}, {one}]")
    assert code == 0
    plan = json.loads(out)
    assert len(plan["teachers"]) == 2
    assert plan["teacher_passes"] == 2
    assert plan["memory"]["weights of 2 teachers"] == 2 * plan["teachers"][0]["parameters"] * 2
