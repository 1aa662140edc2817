"""What a run does is counted: against a closed form written here, on a model small enough to add up by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tide_core.bench.counting import counted, token_embedding
from tide_plugins.architectures import HuggingFace
from tide_plugins.attention.eager import Eager
from tide_plugins.attention.sdpa import Sdpa
from tide_plugins.samplers import AutoregressiveSampler
from tide_specs import AttentionBackend, Denoiser, Runtime

DEMO = Path(__file__).parents[2] / "examples" / "demo"
HIDDEN, INNER, LAYERS, HEADS, KEY_HEADS = 32, 48, 2, 4, 2
PROMPTS = [[70, 71, 72, 73, 74], [80, 81, 82, 83, 84]]
NEW = 6


def load(attention: AttentionBackend) -> Denoiser:
    config = {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
    }
    component = HuggingFace(config=config, tokenizer_from=str(DEMO / "teacher-tokenizer"), form="autoregressive")
    runtime = Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=attention, seed=3)
    return component.load("teacher", runtime)


def by_hand(calls: list[tuple[int, int]], columns: int, rows: int) -> int:
    """Operations of forward passes that read ``q`` positions of each row beside ``k`` keys, and a head for each new token."""
    width = HIDDEN // HEADS
    projections = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * KEY_HEADS * width + 3 * HIDDEN * INNER
    flops = sum(LAYERS * (2 * q * projections + 4 * q * k * HIDDEN) for q, k in calls)
    return rows * (flops + NEW * 2 * HIDDEN * columns)


@pytest.mark.parametrize("attention", [Eager(), Sdpa()], ids=lambda backend: backend.name)
def test_a_cached_autoregressive_run_costs_what_the_formula_says(attention: AttentionBackend) -> None:
    denoiser = load(attention)
    length = len(PROMPTS[0])

    def run() -> Any:
        return AutoregressiveSampler().sample(denoiser, PROMPTS, max_new_tokens=NEW)

    sampled, counts = counted(denoiser.module, run)
    assert [len(ids) for ids in sampled.ids] == [NEW, NEW]  # nothing ended early, or the formula would not hold
    assert counts.forwards == NEW
    assert counts.positions == 2 * (length + NEW - 1)
    calls = [(length, length), *((1, length + step) for step in range(1, NEW))]
    columns = int(denoiser.head().weight.shape[0])
    # Rotary angles are products of position and frequency by torch's batched product: HIDDEN / HEADS / 2 of them a position.
    rotary = sum(2 * q * (HIDDEN // HEADS // 2) for q, _ in calls) * len(PROMPTS)
    assert counts.flops in (
        by_hand(calls, columns, 2),
        by_hand(calls, columns, 2) + rotary,
        by_hand(calls, columns, 2) + rotary // 2,
    )


def test_a_run_that_fails_leaves_no_hook_behind() -> None:
    model = nn.Sequential(nn.Embedding(7, 3))

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        counted(model, fail)
    assert not model[0]._forward_pre_hooks


def test_positions_are_unknown_without_an_embedding_and_the_token_table_is_the_largest() -> None:
    _, counts = counted(nn.Linear(2, 3), lambda: None)
    assert (counts.forwards, counts.positions, counts.flops) == (None, None, 0.0)
    model = nn.ModuleDict({"positions": nn.Embedding(16, 2), "tokens": nn.Embedding(50, 2)})
    assert token_embedding(model) is model["tokens"]


def test_products_that_torch_does_not_count_are_counted() -> None:
    a, b = torch.randn(5, 7), torch.randn(7, 3)
    _, counts = counted(nn.Identity(), lambda: torch.zeros(5, 3).addmm_(a, b))
    assert counts.flops == 2 * 5 * 7 * 3
    q, k = torch.randn(2, 4, 6, 8), torch.randn(2, 4, 9, 8)
    with torch.no_grad():
        _, counts = counted(nn.Identity(), lambda: nn.functional.scaled_dot_product_attention(q, k, k))
    assert counts.flops == 2 * 2 * 4 * 6 * 9 * (8 + 8)


def test_experts_products_are_counted() -> None:
    if not hasattr(nn.functional, "grouped_mm"):
        pytest.skip("this torch has no grouped product")
    a, b = torch.randn(6, 16, dtype=torch.bfloat16), torch.randn(2, 16, 8, dtype=torch.bfloat16)
    ends = torch.tensor([2, 6], dtype=torch.int32)
    with torch.no_grad():
        _, counts = counted(nn.Identity(), lambda: nn.functional.grouped_mm(a, b, offs=ends))
    assert counts.flops == 2 * 6 * 16 * 8
