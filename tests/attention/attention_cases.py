"""Layouts, rows and oracles shared by the attention tests; the visibility rules are written out in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from tide_specs import AttentionLayout, AttentionOptions, BlockCausal, BlockDiffusion, Cached, Causal, Full

LENGTH, BLOCK = 14, 4  # the last block holds two tokens only

LAYOUTS: dict[str, AttentionLayout] = {
    "full": Full(length=LENGTH),
    "causal": Causal(length=LENGTH),
    "block_causal": BlockCausal(length=LENGTH, block=BLOCK),
    "block_diffusion": BlockDiffusion(length=LENGTH, block=BLOCK),
    "clean_first": BlockDiffusion(length=LENGTH, block=BLOCK, order="clean_first"),
    "two_streams": BlockDiffusion(length=LENGTH, block=BLOCK, streams=2),
    "causal_blocks": BlockDiffusion(length=LENGTH, block=BLOCK, causal=True),
    "everything": BlockDiffusion(length=LENGTH, block=BLOCK, order="clean_first", streams=2, causal=True),
    "cached": Cached(length=6, cached=9),
    "cached_causal": Cached(length=6, cached=9, causal=True),
    "cached_blocks": Cached(length=6, cached=8, block=BLOCK),
    "cached_ragged": Cached(length=6, cached=9, cached_lengths=torch.tensor([9, 4, 0])),
    "cached_ragged_causal": Cached(length=6, cached=9, cached_lengths=torch.tensor([9, 4, 0]), causal=True),
    "cached_ragged_blocks": Cached(length=6, cached=8, cached_lengths=torch.tensor([8, 4, 0]), block=BLOCK),
}
LENGTHS = torch.tensor([14, 7, 1])
DOCUMENTS = torch.tensor([[5] * 4 + [6] * 8 + [7] * 2, [0] * 8 + [3] * 6, [1] * 14])


@cache
def with_rows(layout: AttentionLayout, rows: str) -> AttentionLayout:
    """Rows are ``plain``, ``padded``, ``packed`` or ``packed_padded``."""
    lengths = LENGTHS.clamp(max=layout.length) if "padded" in rows else None
    return layout.with_rows(lengths, DOCUMENTS if "packed" in rows else None)


CASES = [
    (name, rows)
    for name, layout in LAYOUTS.items()
    for rows in ("plain", "padded", "packed", "packed_padded")
    if not (isinstance(layout, Cached) and "packed" in rows)
]


@dataclass(frozen=True)
class Place:
    """What one position of a forward pass stands for."""

    stream: str
    token: int  # place in the row's text
    new: int | None  # number among the tokens that lengths and documents count; None for a cached slot
    unfilled: bool = False


def places(layout: AttentionLayout, row: int) -> list[Place]:
    """Write down every key position of a row."""
    if isinstance(layout, Cached):
        filled = layout.cached if layout.cached_lengths is None else int(layout.cached_lengths[row])
        slots = [Place("text", slot, None, slot >= filled) for slot in range(layout.cached)]
        return slots + [Place("text", filled + new, new) for new in range(layout.length)]
    if not isinstance(layout, BlockDiffusion):
        return [Place("text", token, token) for token in range(layout.length)]
    names = [f"noisy {number}" for number in range(layout.streams)]
    names = [*names, "clean"] if layout.order == "noisy_first" else ["clean", *names]
    return [Place(name, token, token) for name in names for token in range(layout.length)]


def rule(layout: AttentionLayout, query: Place, key: Place) -> bool:
    """The definitions, one sentence each."""
    match layout:
        case BlockDiffusion():
            earlier_clean = key.stream == "clean" and key.token // layout.block < query.token // layout.block
            own = key.stream == query.stream and key.token // layout.block == query.token // layout.block
            return earlier_clean or (own and (not layout.causal or key.token <= query.token))
        case BlockCausal():
            return key.token // layout.block <= query.token // layout.block
        case Causal():
            return key.token <= query.token
        case Cached():
            if key.new is None:
                return not key.unfilled
            if layout.block is not None and key.token // layout.block > query.token // layout.block:
                return False
            return not layout.causal or key.token <= query.token
        case _:
            return True


@cache
def looped(layout: AttentionLayout, rows: int, window: int | None = None) -> Tensor:
    """The mask [rows, 1, Q, K], position by position."""
    mask = torch.zeros(rows, 1, layout.query_length, layout.key_length, dtype=torch.bool)
    for row in range(rows):
        keys = places(layout, row)
        queries = keys[len(keys) - layout.query_length :]
        for q, query in enumerate(queries):
            for k, key in enumerate(keys):
                mask[row, 0, q, k] = _sees(layout, row, query, key, window, same=key is query)
    return mask


def _sees(layout: AttentionLayout, row: int, query: Place, key: Place, window: int | None, *, same: bool) -> bool:
    if layout.lengths is not None and key.new is not None and key.new >= int(layout.lengths[row]):
        return same
    if window is not None and not -window < query.token - key.token < window:
        return False
    packed = layout.documents is not None and key.new is not None and query.new is not None
    if packed and int(layout.documents[row, query.new]) != int(layout.documents[row, key.new]):
        return False
    return rule(layout, query, key)


def valid(layout: AttentionLayout, rows: int) -> Tensor:
    """Queries [rows, Q] that are not padding."""
    out = torch.ones(rows, layout.query_length, dtype=torch.bool)
    if layout.lengths is not None:
        for row in range(rows):
            new = [place.new for place in places(layout, row)][-layout.query_length :]
            out[row] = torch.tensor([number < int(layout.lengths[row]) for number in new])
    return out


def inputs(layout: AttentionLayout, *, rows: int = 3, heads: tuple[int, int] = (4, 2), seed: int = 0) -> list[Tensor]:
    """Query, key and value in float64, with gradients; heads are (query heads, key heads)."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(heads[0], layout.query_length), (heads[1], layout.key_length), (heads[1], layout.key_length)]
    made = [torch.randn(rows, h, n, 8, dtype=torch.float64, generator=generator) for h, n in shapes]
    return [tensor.requires_grad_() for tensor in made]


def textbook(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, options: AttentionOptions) -> Tensor:
    """Attention head by head in float64, straight from its definition; sinks join the denominator."""
    group = query.shape[1] // key.shape[1]
    heads: list[Tensor] = []
    for head in range(query.shape[1]):
        scores = torch.einsum("bqd,bkd->bqk", query[:, head], key[:, head // group]) * options.scale
        if options.softcap is not None:
            scores = options.softcap * (scores / options.softcap).tanh()
        if options.bias is not None:
            scores = scores + options.bias[:, head % options.bias.shape[1]]
        weights = scores.exp() * mask[:, 0]
        total = weights.sum(-1, keepdim=True)
        if options.sinks is not None:
            total = total + options.sinks[head].exp()
        heads.append(torch.einsum("bqk,bkd->bqd", weights / total, value[:, head // group]))
    return torch.stack(heads, dim=1)


def outcome(
    attend: Callable[..., Tensor], tensors: list[Tensor], layout: AttentionLayout, *, gradients: bool = True
) -> list[Tensor]:
    """Output at valid queries, and the gradients of a random projection of it."""
    seen = valid(layout, tensors[0].shape[0])[:, None, :, None]
    out = attend(*tensors)
    assert out.isfinite().all()
    out = torch.where(seen, out, 0)
    if not gradients:
        return [out]
    weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    return [out, *torch.autograd.grad((out * weight).sum(), tensors)]
