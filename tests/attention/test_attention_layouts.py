"""Layouts: the rules against position-by-position loops, and the promises that caches rely on."""

from __future__ import annotations

import pytest
import torch
from attention_cases import CASES, DOCUMENTS, LAYOUTS, LENGTHS, looped, with_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from tide_plugins.attention.flexible import mask_rule
from tide_specs import AttentionLayout, BlockCausal, BlockDiffusion, Cached, Causal, Full


@pytest.mark.parametrize("window", [None, 1, 3, 100])
@pytest.mark.parametrize(("name", "rows"), CASES)
def test_dense_mask_follows_the_rules_of_the_layout(name: str, rows: str, window: int | None) -> None:
    layout = with_rows(LAYOUTS[name], rows)
    mask = layout.dense(window=window).expand(3, -1, -1, -1)
    assert torch.equal(mask, looped(layout, 3, window))
    assert mask.any(-1).all(), "an empty row is NaN in a softmax"


@pytest.mark.parametrize(("name", "rows"), CASES)
def test_rule_for_scalar_indices_is_the_dense_mask(name: str, rows: str) -> None:
    layout = with_rows(LAYOUTS[name], rows)
    rule = mask_rule(layout, 5, torch.device("cpu"))
    mask = layout.dense(window=5).expand(3, -1, -1, -1)
    zero = torch.tensor(0)
    for row, query, key in [(0, 0, 0), (1, 5, 3), (2, layout.query_length - 1, 0), (1, 2, layout.key_length - 1)]:
        seen = rule(torch.tensor(row), zero, torch.tensor(query), torch.tensor(key))
        assert bool(seen) == bool(mask[row, 0, query, key])


@st.composite
def layouts(draw: st.DrawFn) -> AttentionLayout:
    length, block = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    lengths = draw(st.none() | st.lists(st.integers(0, length), min_size=2, max_size=2).map(torch.tensor))
    documents = draw(
        st.none() | st.lists(st.integers(0, 2), min_size=2 * length, max_size=2 * length).map(torch.tensor)
    )
    rows = {"lengths": lengths, "documents": None if documents is None else documents.reshape(2, length)}
    kind = draw(st.sampled_from(["full", "causal", "block_causal", "block_diffusion", "cached"]))
    if kind == "block_diffusion":
        order, streams = draw(st.sampled_from(["noisy_first", "clean_first"])), draw(st.integers(1, 3))
        return BlockDiffusion(
            length=length, block=block, order=order, streams=streams, causal=draw(st.booleans()), **rows
        )
    if kind == "cached":
        cached = draw(st.integers(0, 9))
        filled = draw(st.none() | st.lists(st.integers(0, cached), min_size=2, max_size=2).map(torch.tensor))
        block_or_none = draw(st.none() | st.just(block))
        causal = draw(st.booleans())
        return Cached(
            length=length, cached=cached, cached_lengths=filled, causal=causal, block=block_or_none, lengths=lengths
        )
    if kind == "block_causal":
        return BlockCausal(length=length, block=block, **rows)
    return (Full if kind == "full" else Causal)(length=length, **rows)


@given(layouts(), st.none() | st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_any_layout_follows_its_rules(layout: AttentionLayout, window: int | None) -> None:
    mask = layout.dense(window=window).expand(2, -1, -1, -1)
    assert torch.equal(mask, looped(layout, 2, window))
    assert mask.any(-1).all()


def test_block_diffusion_shows_about_a_quarter_of_the_square() -> None:
    mask = BlockDiffusion(length=512, block=32).dense()
    assert 0.25 < mask.float().mean() < 0.27


def test_equal_numbers_and_the_same_tensors_make_equal_layouts() -> None:
    first = BlockDiffusion(length=14, block=4, lengths=LENGTHS, documents=DOCUMENTS)
    assert first == BlockDiffusion(length=14, block=4).with_rows(LENGTHS, DOCUMENTS)
    assert hash(first) == hash(BlockDiffusion(length=14, block=4).with_rows(LENGTHS, DOCUMENTS))
    assert first != BlockDiffusion(length=14, block=4).with_rows(LENGTHS.clone(), DOCUMENTS)
    assert first != BlockDiffusion(length=14, block=7).with_rows(LENGTHS, DOCUMENTS)
    assert Full(length=3) != Causal(length=3)


def test_comparing_layouts_reads_no_tensor() -> None:
    """A meta tensor has no values: reading one raises, as reading a device's tensor waits."""
    row = {"lengths": torch.empty(2, device="meta"), "documents": torch.empty(2, 8, device="meta")}
    layout = BlockCausal(length=8, block=4, **row)
    assert layout == BlockCausal(length=8, block=4, **row)
    assert layout.structure == BlockCausal(length=8, block=4)
    assert len({layout, layout.structure, layout.with_rows(row["lengths"])}) == 3


def test_structure_of_a_cached_layout_forgets_every_tensor() -> None:
    layout = Cached(length=2, cached=4, cached_lengths=torch.tensor([1]), lengths=torch.tensor([2]), causal=True)
    assert layout.structure == Cached(length=2, cached=4, causal=True)
    assert set(layout.tensors()) == {"cached_lengths", "lengths"}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Full(length=0), "Full: length must be at least 1, not 0"),
        (lambda: BlockCausal(length=4, block=0), "block must be at least 1"),
        (lambda: BlockDiffusion(length=4, block=2, streams=0), "streams must be at least 1"),
        (
            lambda: BlockDiffusion(length=4, block=2, order="clean"),
            "must be 'noisy_first' or 'clean_first', not 'clean'",
        ),
        (lambda: Cached(length=1, cached=-1), "cached must not be negative"),
        (lambda: Cached(length=1, cached=3).with_rows(None, torch.zeros(1, 1)), "cannot be packed"),
    ],
)
def test_numbers_that_describe_no_layout_are_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
