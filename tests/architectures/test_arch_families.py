"""Every family: its causal or full layout equals the library's own attention, and any layout equals the dense oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from arch_models import CAUSAL, FAMILIES, MASKED, Make
from torch import Tensor

from tide_plugins.architectures.adapter.interface import Seen
from tide_specs import BlockDiffusion, Causal, Full, Runtime

LENGTH = 12


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest, make: Make, runtime: Runtime) -> Any:
    denoiser = make(request.param, "block_diffusion", block_size=4).load("student", runtime)
    denoiser.module.eval()
    return denoiser


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 250, (2, LENGTH), generator=torch.Generator().manual_seed(5))


def test_there_are_more_than_twenty_families() -> None:
    assert len(FAMILIES) > 30


def test_native_layout_equals_the_library(family: Any, ids: Tensor) -> None:
    model, network = family.module, family.network
    layout = Causal(length=LENGTH) if model.config.model_type in CAUSAL else Full(length=LENGTH)
    ours = family.head().logits(network.states(ids, torch.arange(LENGTH)[None], layout))
    for implementation in ("eager", "sdpa") if model._supports_sdpa else ("eager",):
        model.set_attn_implementation(implementation)
        native = model(input_ids=ids).logits
        model.set_attn_implementation("tide")
        torch.testing.assert_close(ours, native, rtol=1e-4, atol=2e-5)


def test_full_layout_reaches_forward_and_causal_does_not(family: Any, ids: Tensor) -> None:
    changed = ids.clone()
    changed[:, -1] += 1
    positions = torch.arange(LENGTH)[None]
    for layout, reaches in ((Full(length=LENGTH), True), (Causal(length=LENGTH), False)):
        before, after = (family.network.states(x, positions, layout)[:, -2] for x in (ids, changed))
        assert (not torch.allclose(before, after, atol=1e-7)) == reaches


def test_block_layout_equals_the_dense_mask(family: Any, ids: Tensor) -> None:
    """The library's own eager attention with explicit 4-D masks computes what the symbolic layout computes."""
    model, network = family.module, family.network
    layout = BlockDiffusion(length=LENGTH, block=4)
    both = torch.cat([ids.flip(1), ids], dim=1)
    positions = torch.arange(LENGTH).repeat(2)[None]
    seen: list[Seen] = []
    ours = network.states(both, positions, layout, seen=seen)
    window = max((ask.options.window or 0 for ask in seen), default=0) or None
    kinds = getattr(model.config, "layer_types", None) or []
    masks: Any = additive(layout.dense(window=window))
    if "sliding_attention" in kinds:
        masks = {"sliding_attention": masks, "full_attention": additive(layout.dense())}
    model.set_attn_implementation("eager")
    native = network.base(
        input_ids=both, position_ids=(positions + network.position_offset).expand(2, -1), attention_mask=masks
    )[0]
    model.set_attn_implementation("tide")
    expected = native if network.transform is None else network.transform(native)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=2e-5)


def additive(visible: Tensor) -> Tensor:
    return torch.zeros(2, *visible.shape[1:]).masked_fill(~visible, torch.finfo(torch.float32).min)


def test_a_masked_position_does_not_know_its_token(family: Any, ids: Tensor) -> None:
    noised = ids.clone()
    noised[:, 5] = family.mask_token_id
    other = ids.clone()
    other[:, 5] = (ids[:, 5] + 7) % 250
    lengths = torch.full((2,), LENGTH)
    before, after = (family.hidden(noised, clean, lengths)[:, 5] for clean in (ids, other))
    torch.testing.assert_close(before, after, rtol=0, atol=1e-6)


def test_padding_changes_nothing(family: Any, ids: Tensor) -> None:
    lengths = torch.tensor([8, LENGTH])
    noised = torch.where(torch.rand(ids.shape, generator=torch.Generator().manual_seed(1)) < 0.5, 257, ids)
    alone = family.hidden(noised[:1, :8], ids[:1, :8], lengths[:1])
    padded = family.hidden(noised, ids, lengths)[:1, :8]
    torch.testing.assert_close(alone, padded, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(MASKED))
def test_masked_language_models_load_as_such(name: str, make: Make, runtime: Runtime) -> None:
    assert "MaskedLM" in make(name).load("student", runtime).facts()["class"]
