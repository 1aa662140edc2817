"""Incremental decoding with DiffusionGemma: the encoder appends clean tokens, the decoder reads a canvas behind them.

Shapes: B rows, n tokens, H hidden size, C vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tide_specs import AttentionLayout, Cached, Causal, DecodingSession

from .cache import AppendedCache
from .gemma_layout import CanvasBehindCache
from .gemma_network import GemmaNetwork


class CanvasSession(DecodingSession):
    """Takes any number of clean tokens. ``recall`` and ``condition`` let the decoder read its own last prediction."""

    def __init__(self, network: GemmaNetwork, rows: int) -> None:
        self.network = network
        self.cache = AppendedCache()
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=network.model.lm_head.weight.device)
        self.filled = 0
        self.recalled: Tensor | None = None

    @torch.no_grad()
    def extend(self, clean: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Append clean tokens [B, n], of each row the first ``lengths`` [B]; return the encoder's states [B, n, H]."""
        count, before = clean.shape[1], self.lengths
        added = torch.full_like(before, count) if lengths is None else lengths.to(before)
        even = lengths is None and bool((before == self.filled).all())
        hidden = self.network.encode(clean, self._positions(count), self._causal(count, lengths), self.cache)
        self.lengths = before + added
        self.filled = self.filled + count if even else int(self.lengths.max())
        self.cache.commit(before, count, self.filled, moved=not even)
        return hidden

    @torch.no_grad()
    def hidden(self, noised: Tensor) -> Tensor:
        """Predict the canvas [B, n] that follows the cache: hidden [B, n, H]; the cache stays as it was."""
        count = noised.shape[1]
        layout = CanvasBehindCache(length=count, cached=self.filled, cached_lengths=self.lengths)
        prefix = self.network.prefix_of(self.cache, len(noised))
        return self.network.decode(noised, self._positions(count), layout, prefix, self.recalled)

    @torch.no_grad()
    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` [b] of the batch."""
        self.lengths = self.lengths[rows]
        self.filled = int(self.lengths.max()) if len(self.lengths) else 0
        self.recalled = None if self.recalled is None else self.recalled[rows]
        self.cache.keep(rows, self.filled)

    def recall(self, logits: Tensor) -> Tensor:
        """Logits [n, C] of a prediction -> what the decoder reads of it [n, H]."""
        return self.network.recall(logits)

    def condition(self, recalled: Tensor | None) -> None:
        """Let ``hidden`` read what was predicted before [B, n, H], zero for a row's first step; ``None``: nothing."""
        self.recalled = recalled

    def _positions(self, count: int) -> Tensor:
        return self.lengths[:, None] + torch.arange(count, device=self.lengths.device)

    def _causal(self, count: int, lengths: Tensor | None) -> AttentionLayout:
        if self.filled == 0:
            return Causal(length=count, lengths=lengths)
        return Cached(length=count, lengths=lengths, cached=self.filled, cached_lengths=self.lengths, causal=True)
