"""Attention of canvases, by any backend that serves a cache: one call for each canvas, without a hidden product.

Shapes: B rows, L tokens, V noisy streams, C tokens of a canvas, n clean slots that a canvas reads, Hk key heads, D head size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from tide_plugins.attention.masks import remember
from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, Cached

from .denoiser import positions_of
from .gemma_layout import CanvasBehindCache, Canvases


@dataclass(frozen=True, kw_only=True)
class Read:
    """What one canvas reads, in every stream.

    ``places``: where it lies among the queries, by stream. ``slots``: the clean slots that it reads, or ``chosen`` [B, n]
    where rows differ. ``layout``: these slots as a cache, with the canvas behind it.
    """

    places: tuple[slice, ...]
    slots: slice
    chosen: Tensor | None
    layout: Cached

    def take(self, clean: Tensor) -> Tensor:
        """Clean keys or values [B, Hk, slots, D] -> those that are read [B, Hk, n, D]."""
        if self.chosen is None:
            return clean[:, :, self.slots]
        index = self.chosen[:, None, :, None].expand(-1, clean.shape[1], -1, clean.shape[3])
        return clean.gather(2, index)


class CanvasAttention(AttentionBackend):
    """Stands before the run's own backend and asks it about one canvas at a time; no run file can name it."""

    name: Literal["canvases"] = "canvases"
    layouts: ClassVar[frozenset[str]] = frozenset({Canvases.kind, CanvasBehindCache.kind})

    inner: AttentionBackend = Field(description="backend that serves the layout 'cached'")

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """See ``AttentionBackend.attend``; ``layout`` is ``Canvases`` or ``CanvasBehindCache``."""
        first = layout.key_length - layout.query_length
        streams: dict[int, list[Tensor]] = {}
        unwindowed = replace(options, window=None)
        for read in reads(layout, options.window):
            clean_keys, clean_values = read.take(key[:, :, :first]), read.take(value[:, :, :first])
            for stream, place in enumerate(read.places):
                own = slice(first + place.start, first + place.stop)
                keys = torch.cat([clean_keys, key[:, :, own]], 2)
                values = torch.cat([clean_values, value[:, :, own]], 2)
                out = self.inner.attend(query[:, :, place], keys, values, read.layout, unwindowed)
                streams.setdefault(stream, []).append(out)
        return torch.cat([part for parts in streams.values() for part in parts], dim=2)


def reads(layout: AttentionLayout, window: int | None) -> list[Read]:
    """Return what each canvas reads, made once for all layers with this window."""
    if isinstance(layout, CanvasBehindCache):
        return remember(layout, ("reads", window), lambda: [_behind_cache(layout, window)])
    assert isinstance(layout, Canvases)
    return remember(layout, ("reads", window), lambda: list(_in_training(layout, window)))


def _in_training(layout: Canvases, window: int | None) -> Iterator[Read]:
    begun = _document_starts(layout)
    for start in range(0, layout.length, layout.block):
        width = min(layout.block, layout.length - start)
        places = tuple(
            slice(s * layout.length + start, s * layout.length + start + width) for s in range(layout.streams)
        )
        slots = slice(0 if window is None else max(0, start - window + 1), start)
        count = start - slots.start
        inside = None if layout.lengths is None else (layout.lengths - start).clamp(0, width)
        cached = Cached(length=width, lengths=inside, cached=count)
        if begun is None:
            yield Read(places=places, slots=slots, chosen=None, layout=cached)
            continue
        chosen, filled = _last_slots(begun[:, start], torch.full_like(begun[:, start], start), count)
        yield Read(places=places, slots=slots, chosen=chosen, layout=replace(cached, cached_lengths=filled))


def _behind_cache(layout: CanvasBehindCache, window: int | None) -> Read:
    count = layout.cached if window is None else min(layout.cached, window - 1)
    chosen, filled = None, layout.cached_lengths
    if count < layout.cached and filled is not None:
        chosen, filled = _last_slots(torch.zeros_like(filled), filled, count)
    return Read(
        places=(slice(0, layout.length),),
        slots=slice(layout.cached - count, layout.cached),
        chosen=chosen,
        layout=Cached(length=layout.length, lengths=layout.lengths, cached=count, cached_lengths=filled),
    )


def _document_starts(layout: Canvases) -> Tensor | None:
    """Return the position [B, L] at which each token's document starts; ``None`` for rows that are not packed."""
    if layout.documents is None:
        return None
    index = torch.arange(layout.length, device=layout.documents.device)
    return index - positions_of(layout.length, layout.documents, index.device)


def _last_slots(begun: Tensor, ended: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the last ``count`` slots [B, count] of each row's begun..ended-1 [B], and how many of them it has [B]."""
    first = torch.maximum(begun, ended - count)
    slots = first[:, None] + torch.arange(count, device=begun.device)
    return slots.clamp(max=(ended - 1).clamp(min=0)[:, None]), ended - first
