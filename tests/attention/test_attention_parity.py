"""Every backend computes the same attention: against the textbook formula in float64, forward and backward."""

from __future__ import annotations

import pytest
import torch
from attention_cases import CASES, LAYOUTS, inputs, looped, outcome, textbook, with_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from test_attention_layouts import layouts
from torch.nn.attention import flex_attention as flex_module

from tide_plugins.attention.eager import Eager
from tide_plugins.attention.flex import Flex
from tide_plugins.attention.sdpa import Sdpa
from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, BlockDiffusion, Cached

HEADS = [(4, 4), (4, 2), (4, 1)]
BACKENDS = {"eager": Eager(), "sdpa": Sdpa(), "sdpa_small_tiles": Sdpa(tile=8), "sdpa_one_block": Sdpa(tile=1)}


def assert_same(backend: AttentionBackend, layout: AttentionLayout, options: AttentionOptions, **shape) -> None:
    tensors = inputs(layout, **shape)
    mask = looped(layout, tensors[0].shape[0], options.window)
    expected = outcome(lambda q, k, v: textbook(q, k, v, mask, options), tensors, layout)
    found = outcome(lambda q, k, v: backend.attend(q, k, v, layout, options), tensors, layout)
    for want, have in zip(expected, found, strict=True):
        torch.testing.assert_close(have, want)


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "rows"), CASES)
def test_forward_and_backward_equal_the_textbook(name: str, rows: str, backend: str, heads: tuple[int, int]) -> None:
    assert_same(BACKENDS[backend], with_rows(LAYOUTS[name], rows), AttentionOptions(scale=0.4), heads=heads)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "rows"), CASES)
def test_windows_equal_the_textbook(name: str, rows: str, backend: str) -> None:
    assert_same(BACKENDS[backend], with_rows(LAYOUTS[name], rows), AttentionOptions(scale=0.4, window=3))


@given(layouts(), st.integers(1, 12), st.none() | st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_tiles_of_any_size_equal_the_textbook(layout: AttentionLayout, tile: int, window: int | None) -> None:
    assert_same(Sdpa(tile=tile), layout, AttentionOptions(scale=0.4, window=window), rows=2)


@pytest.fixture
def unfused(monkeypatch: pytest.MonkeyPatch) -> None:
    """flex_attention traces itself on every call; its plain path computes the same in a fraction of the time."""
    monkeypatch.setattr(flex_module, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.filterwarnings("ignore:.*_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG")
@pytest.mark.usefixtures("unfused")
@pytest.mark.parametrize("options", [{}, {"window": 3}, {"softcap": 0.5}], ids=str)
@pytest.mark.parametrize(("name", "rows"), CASES)
def test_flex_equals_the_textbook(name: str, rows: str, options: dict) -> None:
    layout = with_rows(LAYOUTS[name], rows)
    asked = AttentionOptions(scale=0.4, **options)
    tensors = [tensor.detach() for tensor in inputs(layout)]
    mask = looped(layout, 3, asked.window)
    expected = outcome(lambda q, k, v: textbook(q, k, v, mask, asked), tensors, layout, gradients=False)
    found = outcome(lambda q, k, v: Flex().attend(q, k, v, layout, asked), tensors, layout, gradients=False)
    torch.testing.assert_close(found[0], expected[0])


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flex_traced_as_users_call_it_equals_the_textbook() -> None:
    layout = with_rows(LAYOUTS["everything"], "packed_padded")
    options = AttentionOptions(scale=0.4)
    tensors = [tensor.detach() for tensor in inputs(layout)]
    expected = outcome(lambda *t: textbook(*t, looped(layout, 3), options), tensors, layout, gradients=False)
    found = outcome(lambda *t: Flex().attend(*t, layout, options), tensors, layout, gradients=False)
    torch.testing.assert_close(found[0], expected[0])


@pytest.mark.parametrize("backend", [Eager(), Sdpa(tile=8)], ids=lambda b: b.name)
def test_cached_decoding_gives_the_last_rows_of_the_whole_computation(backend: AttentionBackend) -> None:
    """The clean stream read in two parts, a block at a time behind a cache, equals one pass over the whole text."""
    whole = LAYOUTS["block_causal"].with_rows(None)
    query, key, value = (tensor.detach() for tensor in inputs(whole))
    options = AttentionOptions(scale=0.4)
    expected = backend.attend(query, key, value, whole, options)[:, :, 8:]
    behind = Cached(length=6, cached=8, block=4)
    torch.testing.assert_close(backend.attend(query[:, :, 8:], key, value, behind, options), expected)


@pytest.mark.parametrize("backend", [Eager(), Sdpa(tile=8)], ids=lambda b: b.name)
def test_rows_of_unequal_caches_equal_their_own_computation(backend: AttentionBackend) -> None:
    """Row 1 has filled 5 of 9 slots: it must compute what it would with a cache of 5, windows included."""
    options = AttentionOptions(scale=0.4, window=7)
    ragged = Cached(length=3, cached=9, cached_lengths=torch.tensor([9, 5]), causal=True)
    query, key, value = (tensor.detach() for tensor in inputs(ragged, rows=2))
    together = backend.attend(query, key, value, ragged, options)
    kept = [*range(5), 9, 10, 11]
    alone = backend.attend(
        query[1:], key[1:, :, kept], value[1:, :, kept], Cached(length=3, cached=5, causal=True), options
    )
    torch.testing.assert_close(together[1:], alone)


@pytest.mark.parametrize("backend", BACKENDS)
def test_noisy_streams_of_one_pass_equal_two_passes(backend: str) -> None:
    """Two noisy views beside one clean stream compute what two separate [x_t, x_0] passes compute."""
    both = BlockDiffusion(length=14, block=4, streams=2)
    query, key, value = (tensor.detach() for tensor in inputs(both))
    options = AttentionOptions(scale=0.4)
    together = BACKENDS[backend].attend(query, key, value, both, options)
    for stream in range(2):
        pick = [*range(stream * 14, stream * 14 + 14), *range(28, 42)]
        one = BlockDiffusion(length=14, block=4)
        alone = BACKENDS[backend].attend(query[:, :, pick], key[:, :, pick], value[:, :, pick], one, options)
        torch.testing.assert_close(together[:, :, pick], alone)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="flex_attention trains on CUDA only")
@pytest.mark.parametrize("name", ["full", "causal", "block_causal", "block_diffusion", "everything"])
def test_compiled_flex_trains_on_cuda(name: str) -> None:
    layout = with_rows(LAYOUTS[name], "packed_padded")
    on_device = layout.with_rows(layout.lengths.cuda(), layout.documents.cuda())
    wide = [torch.cat([t, t], -1).detach().float().cuda().requires_grad_() for t in inputs(layout)]
    options = AttentionOptions(scale=0.4)
    results = []
    for backend in (Eager(), Flex()):
        out = backend.attend(*wide, on_device, options)
        seen = torch.arange(layout.query_length, device="cuda") % layout.length < on_device.lengths[:, None]
        results.append(torch.autograd.grad((out * seen[:, None, :, None]).square().sum(), wide))
    for want, have in zip(*results, strict=True):
        torch.testing.assert_close(have, want, atol=2e-3, rtol=2e-3)
