"""The structured lowering: what is computed, how often masks are made, and that it can be compiled."""

from __future__ import annotations

import gc
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from attention_cases import CASES, DOCUMENTS, LAYOUTS, LENGTHS, inputs, outcome, with_rows
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tide_plugins.attention import masks, tiled
from tide_plugins.attention.eager import Eager
from tide_plugins.attention.sdpa import Sdpa
from tide_plugins.attention.tiles import tiles
from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, BlockCausal, BlockDiffusion, Causal, Full

OPTIONS = AttentionOptions(scale=0.4)
ROWS_AT_512 = {"lengths": torch.tensor([512, 300]), "documents": torch.arange(512).expand(2, -1) // 128}


def flops(layout: AttentionLayout, backend: Sdpa | None) -> int:
    """Multiplications of one forward and backward pass, counted by torch; ``None`` is the square with a dense mask."""
    tensors = [torch.randn(2, 1, layout.query_length, 8, requires_grad=True) for _ in range(3)]
    mask = layout.dense()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        if backend is None:
            out = torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=mask)
        else:
            out = backend.attend(*tensors, layout, OPTIONS)
        out.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("rows", [{}, ROWS_AT_512], ids=["plain", "packed_padded"])
@pytest.mark.parametrize(("tile", "limit"), [(128, 0.40), (32, 0.28)])
def test_hidden_tiles_of_the_square_are_not_computed(tile: int, limit: float, rows: dict) -> None:
    layout = BlockDiffusion(length=512, block=32, **rows)
    assert flops(layout, Sdpa(tile=tile)) / flops(layout, None) < limit


def test_two_streams_and_block_causal_skip_more_than_half() -> None:
    two = BlockDiffusion(length=512, block=32, streams=2)
    assert flops(two, Sdpa()) / flops(two, None) < 0.30
    alone = BlockCausal(length=512, block=32)
    assert flops(alone, Sdpa(tile=64)) / flops(alone, None) < 0.60


@pytest.mark.parametrize("name", ["block_diffusion", "clean_first", "two_streams", "everything", "block_causal"])
@pytest.mark.parametrize("size", [1, 4, 5, 8, 100])
def test_tiles_cover_each_query_once_and_all_that_it_sees(name: str, size: int) -> None:
    layout = LAYOUTS[name]
    found = tiles(layout, size)
    assert found[0].queries[0] == 0
    assert all(before.queries[1] == after.queries[0] for before, after in pairwise(found))
    assert found[-1].queries[1] == layout.query_length
    seen = layout.dense()[0, 0]
    for tile in found:
        rows = seen[slice(*tile.queries)]
        inside = torch.zeros_like(rows)
        for span in tile.keys:
            inside[:, slice(*span)] = True
        assert not (rows & ~inside).any()
        assert not tile.complete or rows[inside].all()


def test_tiles_of_one_block_need_no_mask_at_all() -> None:
    layout = BlockDiffusion(length=64, block=16)
    made = masks.lowered(layout, 16, None, torch.device("cpu"), torch.float32)
    assert len(made) == 8
    assert all(mask is None for _, mask in made)
    assert sum(tile.area for tile, _ in made) == layout.dense().sum()


def test_layers_that_share_a_layout_share_its_masks_and_free_them() -> None:
    rows = (LENGTHS.clone(), DOCUMENTS)
    layout = LAYOUTS["block_diffusion"].with_rows(*rows)
    device = torch.device("cpu")
    first = masks.lowered(layout, 8, None, device, torch.float32)
    again = LAYOUTS["block_diffusion"].with_rows(*rows)
    assert masks.lowered(again, 8, None, device, torch.float32) is first
    assert masks.lowered(layout, 8, 3, device, torch.float32) is not first
    before = len(masks._CACHE)
    del layout
    gc.collect()
    assert len(masks._CACHE) == before - 1


def test_a_window_wider_than_the_text_costs_nothing() -> None:
    layout = BlockDiffusion(length=64, block=16)
    device = torch.device("cpu")
    assert all(mask is None for _, mask in masks.lowered(layout, 16, 64, device, torch.float32))
    assert any(mask is not None for _, mask in masks.lowered(layout, 16, 63, device, torch.float32))


def test_padding_needs_one_mask_row_under_full_and_none_under_causal(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[object] = []

    def spy(*args: torch.Tensor, attn_mask: torch.Tensor | None, **rest: object) -> torch.Tensor:
        shapes.append(None if attn_mask is None else tuple(attn_mask.shape))
        return torch.nn.functional.scaled_dot_product_attention(*args, attn_mask=attn_mask, **rest)

    monkeypatch.setattr(tiled, "scaled_dot_product_attention", spy)
    for layout in (Full(length=14), Causal(length=14)):
        padded = layout.with_rows(torch.tensor([14, 7, 1]))
        Sdpa().attend(*inputs(padded), padded, OPTIONS)
    assert shapes == [(3, 1, 1, 14), None]


def test_masks_first_made_while_evaluating_serve_training() -> None:
    layout = with_rows(LAYOUTS["block_diffusion"], "padded")
    tensors = inputs(layout)
    with torch.inference_mode():
        Sdpa().attend(*(t.detach() for t in tensors), layout, OPTIONS)
    Sdpa().attend(*tensors, layout, OPTIONS).sum().backward()
    assert tensors[0].grad is not None


@pytest.mark.parametrize("rows", ["plain", "packed_padded"])
@pytest.mark.parametrize("name", ["full", "causal", "block_causal", "everything", "cached_ragged_blocks"])
def test_compiles_as_one_graph(name: str, rows: str) -> None:
    """A single graph has no control flow on values of tensors, and so never waits for a device."""
    layout = with_rows(LAYOUTS[name], rows if "cached" not in name else "padded")
    tensors, backend = inputs(layout), Sdpa(tile=8)

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return backend.attend(query, key, value, layout, AttentionOptions(scale=0.4))

    torch.compiler.reset()
    found = outcome(torch.compile(attend, fullgraph=True, backend="aot_eager"), tensors, layout)
    for want, have in zip(outcome(attend, tensors, layout), found, strict=True):
        torch.testing.assert_close(have, want)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", ["full", "causal", "block_diffusion"])
def test_low_precision_stays_near_float64(name: str, dtype: torch.dtype) -> None:
    layout = with_rows(LAYOUTS[name], "packed")
    tensors = [tensor.detach() for tensor in inputs(layout)]
    exact = Eager().attend(*tensors, layout, OPTIONS)
    for backend in (Eager(), Sdpa(tile=8)):
        found = backend.attend(*(tensor.to(dtype) for tensor in tensors), layout, OPTIONS)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), exact, atol=16 * torch.finfo(dtype).eps, rtol=0.02)


@pytest.mark.parametrize("backend", [Eager(), Sdpa(tile=8)], ids=lambda b: b.name)
@pytest.mark.parametrize(("name", "rows"), CASES)
def test_no_value_of_any_tensor_is_read(name: str, rows: str, backend: AttentionBackend) -> None:
    """Meta tensors have no values, so that a read raises; on a device it would make the host wait."""
    layout = with_rows(LAYOUTS[name], rows)
    layout = replace(layout, **{field: tensor.to("meta") for field, tensor in layout.tensors().items()})
    tensors = [tensor.to("meta") for tensor in inputs(layout)]
    assert backend.attend(*tensors, layout, OPTIONS).shape == tensors[0].shape
