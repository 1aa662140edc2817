"""Attention tile by tile with torch's fused kernel.

Shapes: B rows, Hq query heads, Hk key heads, Q query positions, K key positions, D head width;
q and k: query and key positions of one tile.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tide_specs import AttentionLayout, AttentionOptions, Causal

from .masks import lowered, narrowed
from .tiles import Span, Tile


class Kernel(Protocol):
    """Attention of one rectangle."""

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, options: AttentionOptions
    ) -> Tensor:
        """Query [B, Hq, q, D], key and value [B, Hk, k, D], additive bias [B or 1, Hq or 1, q or 1, k]."""
        ...


def attend(
    query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions, size: int
) -> Tensor:
    """Attention by torch's kernel: query [B, Hq, Q, D], key and value [B, Hk, K, D] -> [B, Hq, Q, D]."""
    key, value = key.to(query.dtype), value.to(query.dtype)
    if _kernel_knows(layout, options):
        return torch_kernel(query, key, value, None, options, causal=True).to(query.dtype)
    return attend_tiles(query, key, value, layout, options, size, kernel=torch_kernel)


def attend_tiles(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: AttentionLayout,
    options: AttentionOptions,
    size: int,
    *,
    kernel: Kernel,
) -> Tensor:
    """Call ``kernel`` on each tile of ``layout`` and join the results: [B, Hq, Q, D] in the query's dtype."""
    made = lowered(layout, size, options.window, query.device, query.dtype)
    queries = Pieces(query, [tile.queries for tile, _ in made])
    keys, values = (Pieces(tensor, [span for tile, _ in made for span in tile.keys]) for tensor in (key, value))
    outputs: list[Tensor] = []
    for tile, mask in made:
        bias = _add(mask, _tile_of(options.bias, tile))
        parts = (queries.take(tile.queries), keys.take(*tile.keys), values.take(*tile.keys))
        outputs.append(kernel(*parts, bias, options))
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)).to(query.dtype)


class Pieces:
    """A tensor [B, H, P, D] cut once at the ends of all spans that will be taken from it.

    Slicing it for each tile would cost as much memory traffic in the backward pass as the whole tensor, tile by tile.
    """

    def __init__(self, tensor: Tensor, spans: list[Span]) -> None:
        ends = sorted({0, tensor.shape[2], *(end for span in spans for end in span)})
        self.place = {end: number for number, end in enumerate(ends)}
        sizes = [stop - start for start, stop in pairwise(ends)]
        self.parts: tuple[Tensor, ...] = torch.split(tensor, sizes, dim=2)  # pyright: ignore

    def take(self, *spans: Span) -> Tensor:
        """Return the positions (dimension 2) of all spans, side by side."""
        found = [part for start, stop in spans for part in self.parts[self.place[start] : self.place[stop]]]
        return found[0] if len(found) == 1 else torch.cat(found, dim=2)


def _kernel_knows(layout: AttentionLayout, options: AttentionOptions) -> bool:
    """A causal query never sees padding behind it, so the kernel's own causal mode serves padded rows too."""
    plain = layout.documents is None and options.bias is None
    return type(layout) is Causal and plain and narrowed(layout, options.window) is None


def torch_kernel(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, options: AttentionOptions, *, causal: bool = False
) -> Tensor:
    """torch's fused attention of one rectangle; ``causal``: of a square, the lower triangle."""
    grouped = query.shape[1] != key.shape[1]
    if grouped and bias is not None and query.device.type == "cuda":
        # CUDA's fused kernels take grouped heads or a mask, not both; asked for both, torch falls back to plain products.
        groups = query.shape[1] // key.shape[1]
        key, value, grouped = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1), False
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=bias,
        dropout_p=options.dropout,
        is_causal=causal,
        scale=options.scale,
        enable_gqa=grouped,
    )


def _tile_of(bias: Tensor | None, tile: Tile) -> Tensor | None:
    """Take the rectangle [B or 1, Hq or 1, q, k] of a bias [B or 1, Hq or 1, Q, K]."""
    if bias is None:
        return None
    rows = bias[:, :, slice(*tile.queries)]
    parts = [rows[..., slice(*span)] for span in tile.keys]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _add(mask: Tensor | None, bias: Tensor | None) -> Tensor | None:
    if mask is None or bias is None:
        return bias if mask is None else mask
    return mask + bias.to(mask.dtype)
