"""What a canvas sees: clean tokens before it, through the encoder's keys and values, and itself, both ways.

Shapes: B rows, L tokens, V noisy streams, C tokens of a canvas, W window.
A window of the decoder is counted from where the canvas starts, for all of its tokens alike: they see the last W - 1 clean
tokens before the canvas, and all of the canvas. That is what the native cache keeps of a sliding layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tide_specs import BlockDiffusion, Cached


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvases(BlockDiffusion):
    """Training: the queries are the V noisy streams of L tokens; the keys are the clean tokens and then those streams.

    Documents start at multiples of ``block``, the canvas length.
    """

    kind: ClassVar[str] = "canvases"

    order: str = "clean_first"

    @property
    def query_length(self) -> int:
        """Positions of the noisy streams, V L."""
        return self.length * self.streams

    @property
    def key_length(self) -> int:
        """Positions of the clean stream and of the noisy ones, (V + 1) L."""
        return self.length * (self.streams + 1)

    def distance(self, row: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Return how far a clean key lies before the query's canvas; 0 for the noisy tokens."""
        before = self.token_of(query) // self.block * self.block - self.token_of(key)
        return torch.where(key < self.length, before, 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class CanvasBehindCache(Cached):
    """Decoding: one canvas per row behind the clean tokens that are in the cache."""

    kind: ClassVar[str] = "canvas_behind_cache"

    def distance(self, row: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Return how far a cached key lies before the row's canvas; 0 for the canvas itself."""
        filled = self.cached if self.cached_lengths is None else self.cached_lengths.to(key.device)[row]
        return torch.where(key < self.cached, filled - key, 0)
