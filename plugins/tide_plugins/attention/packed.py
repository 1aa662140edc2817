"""xformers attention over gathered sequences, or over tiles where gathering would copy too much.

Shapes: B rows, Hq query heads, Hk key heads, Q query positions, K key positions, D head width;
n gathered queries, m gathered keys; q and k: query and key positions of one tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from tide_specs import AttentionLayout, AttentionOptions

from .masks import narrowed, remember
from .sequences import sequences
from .tiled import attend_tiles


@dataclass(frozen=True)
class Packing:
    """Where queries [n] and keys [m] are gathered from, and the structured bias that keeps sequences apart."""

    queries: Tensor
    keys: Tensor
    bias: Any


def attend_packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: AttentionLayout,
    options: AttentionOptions,
    *,
    growth: float,
    tile: int,
) -> Tensor:
    """Query [B, Hq, Q, D], key and value [B, Hk, K, D] -> [B, Hq, Q, D] in the query's dtype; padded queries give 0."""
    key, value = key.to(query.dtype), value.to(query.dtype)
    packing = None if narrowed(layout, options.window) else _packing(layout, query.shape[0], growth, query.device)
    if packing is None:
        return attend_tiles(query, key, value, layout, options, tile, kernel=_biased)
    return _attend_sequences(query, key, value, packing, options)


def _attend_sequences(query: Tensor, key: Tensor, value: Tensor, packing: Packing, options: AttentionOptions) -> Tensor:
    rows, heads, length, _ = query.shape
    gathered = (_gather(query, packing.queries), _gather(key, packing.keys, heads), _gather(value, packing.keys, heads))
    out = _kernel(*gathered, packing.bias, options)[0]
    flat = out.new_zeros(rows * length, *out.shape[1:]).index_copy(0, packing.queries, out)
    return flat.reshape(rows, length, *out.shape[1:]).transpose(1, 2)


def _packing(layout: AttentionLayout, rows: int, growth: float, device: torch.device) -> Packing | None:
    return remember(layout, ("packed", rows, growth, device), lambda: pack(layout, rows, growth, device))


def pack(layout: AttentionLayout, rows: int, growth: float, device: torch.device) -> Packing | None:
    """Lower ``layout`` for ``rows`` rows; ``None`` where it has no such form, or one that copies keys over ``growth`` times."""
    found = sequences(layout)
    if found is None or len(found.keys) > growth * layout.key_length * (rows if layout.tensors() else 1):
        return None
    repeats = 1 if layout.tensors() else rows
    attn_bias: Any = import_module("xformers.ops.fmha.attn_bias")
    kind = attn_bias.BlockDiagonalCausalFromBottomRightMask if found.causal else attn_bias.BlockDiagonalMask
    bias = kind.from_seqlens(list(found.query_counts) * repeats, list(found.key_counts) * repeats, device=device)
    row = torch.arange(repeats)[:, None]
    queries = (torch.as_tensor(found.queries) + row * layout.query_length).flatten()
    keys = (torch.as_tensor(found.keys) + row * layout.key_length).flatten()
    return Packing(queries.to(device), keys.to(device), bias)


def _gather(tensor: Tensor, index: Tensor, heads: int | None = None) -> Tensor:
    """Positions ``index`` [n] of all rows of [B, H, P, D] -> [1, n, heads, D]; key heads are repeated to ``heads``."""
    found = tensor.transpose(1, 2).flatten(0, 1).index_select(0, index)[None]
    repeats = 1 if heads is None else heads // tensor.shape[1]
    return found.repeat_interleave(repeats, dim=2) if repeats > 1 else found


def _kernel(query: Tensor, key: Tensor, value: Tensor, bias: Any, options: AttentionOptions) -> Tensor:
    """Query [b, q, Hq, D], key and value [b, k, Hq, D] -> [b, q, Hq, D]."""
    ops: Any = import_module("xformers.ops")
    return ops.memory_efficient_attention(query, key, value, attn_bias=bias, scale=options.scale)


def _biased(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, options: AttentionOptions) -> Tensor:
    """One tile: query [B, Hq, q, D], key and value [B, Hk, k, D], bias [B or 1, 1, q or 1, k] -> [B, Hq, q, D]."""
    repeats = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    if bias is not None:
        bias = _aligned(bias).expand(query.shape[0], query.shape[1], query.shape[2], -1)
    out = _kernel(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), bias, options)
    return out.transpose(1, 2)


def _aligned(mask: Tensor) -> Tensor:
    """Copy a mask so that its rows start at multiples of 8 numbers, which the kernel asks for."""
    width = mask.shape[-1]
    wide = mask.new_zeros(*mask.shape[:-1], -(-width // 8) * 8)
    wide[..., :width] = mask
    return wide[..., :width]
