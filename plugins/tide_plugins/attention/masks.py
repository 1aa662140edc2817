"""Masks of layouts and of their tiles, made once for all layers of a forward pass.

Shapes: B rows, Q query positions, K key positions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from tide_specs import AttentionLayout, Cached, Full

from .tiles import Span, Tile, tiles

Made = TypeVar("Made")

# Layers of one forward pass share a layout object; an entry dies with the layout that it was made for.
_CACHE: WeakKeyDictionary[AttentionLayout, dict[Hashable, object]] = WeakKeyDictionary()


def remember(layout: AttentionLayout, key: Hashable, make: Callable[[], Made]) -> Made:
    """Return ``make()``, made once per layout and key. While ``torch.compile`` traces, nothing is remembered."""
    if torch.compiler.is_compiling():
        return make()
    entry = _CACHE.setdefault(layout, {})
    if key not in entry:
        # A layout may first be met while evaluating and live on into training, which saves its masks for backward.
        with torch.inference_mode(mode=False):
            entry[key] = make()
    return entry[key]  # pyright: ignore[reportReturnType]


def narrowed(layout: AttentionLayout, window: int | None) -> int | None:
    """Return ``window``, or ``None`` where it reaches over the whole text and so hides nothing."""
    reach = layout.key_length if isinstance(layout, Cached) else layout.length
    return None if window is None or window >= reach else window


def dense(layout: AttentionLayout, device: torch.device, window: int | None) -> Tensor:
    """Return ``layout.dense()`` [B or 1, 1, Q, K] on ``device``."""
    return remember(layout, ("dense", device, window), lambda: layout.dense(device=device, window=window))


def lowered(
    layout: AttentionLayout, size: int, window: int | None, device: torch.device, dtype: torch.dtype
) -> list[tuple[Tile, Tensor | None]]:
    """Return the tiles of ``layout``, each with its additive mask [B or 1, 1, q or 1, k], or ``None`` where all is seen."""
    window = narrowed(layout, window)

    def make() -> list[tuple[Tile, Tensor | None]]:
        return [(tile, _mask(layout, tile, window, device, dtype)) for tile in tiles(layout, size)]

    return remember(layout, ("tiles", size, window, device, dtype), make)


def _mask(
    layout: AttentionLayout, tile: Tile, window: int | None, device: torch.device, dtype: torch.dtype
) -> Tensor | None:
    tensors = list(layout.tensors().values())
    alike = _same_for_all_queries(layout, window)
    if window is None and not tensors and (tile.complete or alike):
        return None
    # Where all queries see the same keys, the first one's row serves all of them, and it is never empty.
    queries = (tile.queries[0], tile.queries[0] + 1) if alike else tile.queries
    row = torch.arange(tensors[0].shape[0] if tensors else 1, device=device)
    query = torch.arange(*queries, device=device) + layout.query_offset
    key = _indices(tile.keys, device)
    seen = layout.visible(row[:, None, None], query[None, :, None], key[None, None, :], window=window)
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, -torch.inf)[:, None]


def _same_for_all_queries(layout: AttentionLayout, window: int | None) -> bool:
    if window is not None or layout.documents is not None:
        return False
    if type(layout) is Cached:
        return layout.length == 1 or (not layout.causal and layout.block is None)
    return type(layout) is Full


def _indices(spans: tuple[Span, ...], device: torch.device) -> Tensor:
    parts = [torch.arange(start, stop, device=device) for start, stop in spans]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
