"""A key/value cache that is appended to in place: preallocated, never copied for a forward pass.

Shapes: B rows, Hk key heads, S slots, n new tokens, D head size.
Row b's tokens fill slots 0..length_b-1. New tokens are written behind the longest row, where the ``Cached`` layout
expects them; committing moves them behind their own row, which for rows of equal length is where they already are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class AppendedLayer(CacheLayerMixin):
    """Keys and values [B, Hk, S, D] of one layer; ``filled`` is the length of the longest row."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.filled = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate nothing yet; ``update`` grows the buffers."""
        self.keys = key_states.new_empty((*key_states.shape[:2], 0, key_states.shape[3]))
        self.values = value_states.new_empty((*value_states.shape[:2], 0, value_states.shape[3]))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write n new tokens behind the longest row; return views [B, Hk, filled + n, D]."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        stop = self.filled + key_states.shape[2]
        assert self.keys is not None and self.values is not None
        if stop > self.keys.shape[2]:
            self.keys, self.values = self._grown(self.keys, stop), self._grown(self.values, stop)
        self.keys[:, :, self.filled : stop] = key_states
        self.values[:, :, self.filled : stop] = value_states
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def _grown(self, buffer: Tensor, slots: int) -> Tensor:
        # Doubling: what is copied over a whole decoding is less than what is stored.
        rows, heads, held, width = buffer.shape
        grown = buffer.new_zeros((rows, heads, max(slots, 2 * held, 128), width))
        grown[:, :, : self.filled] = buffer[:, :, : self.filled]
        return grown

    def commit(self, before: Tensor, count: int) -> None:
        """Move the n last written tokens of each row behind its own ``before`` [B] tokens."""
        assert self.keys is not None and self.values is not None
        source = torch.arange(self.filled, self.filled + count, device=before.device)
        target = before[:, None] + torch.arange(count, device=before.device)
        rows = torch.arange(before.shape[0], device=before.device)[:, None]
        for buffer in (self.keys, self.values):
            buffer[rows, :, target] = buffer[:, :, source].transpose(1, 2)

    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` of the batch."""
        if self.is_initialized and self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the key length and its offset, for transformers."""
        return self.filled + query_length, 0

    def get_seq_length(self) -> int:
        """Return the length of the longest row."""
        return self.filled

    def get_max_length(self) -> int:
        """Without a limit."""
        return -1


class AppendedCache(Cache):
    """One ``AppendedLayer`` per attention layer, created when the layer first writes."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=AppendedLayer)

    def commit(self, before: Tensor, count: int, filled: int, *, moved: bool) -> None:
        """Accept the ``count`` tokens written last; ``filled`` is the new length of the longest row."""
        for layer in self.layers:
            assert isinstance(layer, AppendedLayer)
            if moved:
                layer.commit(before, count)
            layer.filled = filled

    def keep(self, rows: Tensor, filled: int) -> None:
        """Keep only ``rows``; ``filled`` is the length of the longest of them."""
        for layer in self.layers:
            assert isinstance(layer, AppendedLayer)
            layer.keep(rows)
            layer.filled = filled
