"""xformers: its structured biases, materialised, show what the layout shows; the kernel itself needs a GPU."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from attention_cases import CASES, LAYOUTS, inputs, looped, outcome, textbook, valid, with_rows

from tide_plugins.attention.eager import Eager
from tide_plugins.attention.sequences import sequences
from tide_plugins.attention.xformers import Xformers
from tide_specs import AttentionLayout, AttentionOptions, BlockDiffusion

needs_package = pytest.mark.skipif(find_spec("xformers") is None, reason="the package xformers is not installed")
OPTIONS = AttentionOptions(scale=0.4)
CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "rows"), CASES)
def test_sequences_hold_for_each_query_exactly_what_it_sees(name: str, rows: str) -> None:
    layout = with_rows(LAYOUTS[name], rows)
    count = 3 if layout.tensors() else 1
    found = sequences(layout)
    assert found is not None
    seen = torch.zeros(count * layout.query_length, count * layout.key_length, dtype=torch.bool)
    queries = torch.from_numpy(found.queries).split(found.query_counts)
    keys = torch.from_numpy(found.keys).split(found.key_counts)
    for query, key in zip(queries, keys, strict=True):
        block = torch.ones(len(query), len(key), dtype=torch.bool)
        seen[query[:, None], key[None]] = block.tril(len(key) - len(query)) if found.causal else block
    expected = torch.block_diag(*looped(layout, count)[:, 0])
    expected = expected.bool() & valid(layout, count).reshape(-1, 1)
    assert torch.equal(seen, expected)
    assert len(found.queries) == len(set(found.queries.tolist()))


def emulated(query, key, value, attn_bias=None, scale=None, **_):
    """The kernel's definition: [b, m, h, d] inputs, bias materialised, softmax."""
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    scores = query @ key.transpose(2, 3) * scale
    if isinstance(attn_bias, torch.Tensor):
        assert attn_bias.shape == scores.shape
        assert all(stride % 8 == 0 for stride in attn_bias.stride()[:-1])
        scores = scores + attn_bias
    elif attn_bias is not None:
        scores = scores + attn_bias.materialize(tuple(scores.shape), dtype=scores.dtype)
    return (scores.softmax(-1) @ value).transpose(1, 2)


@needs_package
@pytest.mark.parametrize("growth", [100.0, 0.1], ids=["sequences", "tiles"])
@pytest.mark.parametrize(("name", "rows"), CASES)
def test_materialised_biases_equal_the_textbook(
    name: str, rows: str, growth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tide_plugins.attention import packed

    monkeypatch.setattr("xformers.ops.memory_efficient_attention", emulated)
    layout = with_rows(LAYOUTS[name], rows)
    tensors, mask = inputs(layout), looped(layout, 3)
    expected = outcome(lambda q, k, v: textbook(q, k, v, mask, OPTIONS), tensors, layout)
    found = outcome(lambda *t: packed.attend_packed(*t, layout, OPTIONS, growth=growth, tile=8), tensors, layout)
    for want, have in zip(expected, found, strict=True):
        torch.testing.assert_close(have, want)


@needs_package
def test_biases_are_of_the_kinds_that_have_a_backward_pass() -> None:
    from xformers.ops.fmha import cutlass

    from tide_plugins.attention.packed import pack

    for layout in LAYOUTS.values():
        packing = pack(layout, 3, 100.0, CPU)
        assert packing is not None
        assert type(packing.bias) in cutlass.BwOp.SUPPORTED_ATTN_BIAS_TYPES


@needs_package
def test_no_hidden_product_is_computed_and_growth_bounds_the_copies() -> None:
    from tide_plugins.attention.packed import pack

    layout = BlockDiffusion(length=128, block=16)
    found = sequences(layout)
    assert found is not None
    area = sum(q * k for q, k in zip(found.query_counts, found.key_counts, strict=True))
    assert area == layout.dense().sum()
    assert pack(layout, 2, 4.6, CPU) is not None
    assert pack(layout, 2, 4.4, CPU) is None


@needs_package
def test_xformers_says_that_it_needs_cuda() -> None:
    backend = Xformers()
    assert "computes on cuda only, not on cpu" in str(backend.available(CPU, torch.float32))
    assert backend.available(torch.device("cuda"), torch.bfloat16) is None
    assert "no kernel for torch.float64" in str(backend.available(torch.device("cuda"), torch.float64))


@needs_package
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="xformers computes on CUDA only")
@pytest.mark.parametrize("growth", [100.0, 0.1], ids=["sequences", "tiles"])
@pytest.mark.parametrize(("name", "rows"), [case for case in CASES if "cached" not in case[0]])
def test_kernel_equals_the_oracle_on_cuda(name: str, rows: str, growth: float) -> None:
    layout: AttentionLayout = with_rows(LAYOUTS[name], rows)
    on_device = layout.with_rows(*(None if t is None else t.cuda() for t in (layout.lengths, layout.documents)))
    wide = [torch.cat([t, t], -1).detach().half().cuda().requires_grad_() for t in inputs(layout)]
    results = []
    for backend in (Eager(), Xformers(growth=growth, tile=8)):
        results.append(outcome_on_cuda(backend, wide, on_device))
    for want, have in zip(*results, strict=True):
        torch.testing.assert_close(have, want, atol=1e-2, rtol=1e-2)


def outcome_on_cuda(backend, tensors, layout):
    out = backend.attend(*tensors, layout, OPTIONS)
    seen = valid(layout, 3).cuda()[:, None, :, None]
    out = torch.where(seen, out, 0)
    return [out, *torch.autograd.grad(out.square().sum(), tensors)]
