"""Incremental decoding over a key/value cache that holds clean tokens only.

Shapes: B rows, n new tokens, H hidden size. ``native`` [B, n, H] is what the model computes at each position.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tide_specs import AttentionLayout, BlockCausal, Cached, Causal, DecodingSession

from .cache import AppendedCache
from .network import Network
from .saving import Record


class CachedSession(DecodingSession):
    """For the autoregressive form, token by token, and the block forms, block by block.

    ``extend`` of a block form takes whole blocks, the last one of a row excepted: the tokens of a block see each other.
    """

    def __init__(self, network: Network, record: Record, rows: int) -> None:
        self.network = network
        self.block_size = record.block_size
        self.shifted = record.shift == "right"
        self.causal = record.form == "autoregressive" or record.causal
        self.autoregressive = record.form == "autoregressive"
        self.cache = AppendedCache()
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=next(network.model.parameters()).device)
        self.filled = 0
        self.last: Tensor | None = None
        """[B, 1, H]: what the model computed at the last token of each row; predicts the next one when shifted."""

    @torch.no_grad()
    def extend(self, clean: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Append clean tokens [B, n], of each row the first ``lengths`` [B]; return hidden [B, n, H]."""
        if self.block_size is None or self.filled == 0:
            return self._append(clean, lengths)
        # The clean tokens of one block never see those of the next.
        parts: list[Tensor] = []
        for start in range(0, clean.shape[1], self.block_size):
            part = clean[:, start : start + self.block_size]
            parts.append(self._append(part, None if lengths is None else (lengths - start).clamp(0, part.shape[1])))
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def hidden(self, noised: Tensor) -> Tensor:
        """Predict the tokens that follow the cache: noised [B, n] -> hidden [B, n, H]; the cache stays as it was."""
        if not self.shifted:
            return self._native(noised, None)
        if noised.shape[1] == 1 and self.last is not None:
            return self.last
        return self._aligned(self._native(noised, None))

    @torch.no_grad()
    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` [b] of the batch."""
        self.lengths = self.lengths[rows]
        self.filled = int(self.lengths.max()) if len(self.lengths) else 0
        self.last = None if self.last is None else self.last[rows]
        self.cache.keep(rows, self.filled)

    def _append(self, clean: Tensor, lengths: Tensor | None) -> Tensor:
        count, before = clean.shape[1], self.lengths
        added = torch.full_like(before, count) if lengths is None else lengths.to(before)
        if self.block_size is not None and bool(((before % self.block_size > 0) & (added > 0)).any()):
            raise ValueError(
                f"a row ends inside a block of {self.block_size}: only whole blocks can be followed by more"
            )
        native = self._native(clean, lengths)
        even = lengths is None and bool((before == self.filled).all())
        self.lengths = before + added
        self.filled = self.filled + count if even else int(self.lengths.max())
        self.cache.commit(before, count, self.filled, moved=not even)
        hidden = self._aligned(native) if self.shifted else native
        self._remember(native, added)
        return hidden

    def _native(self, ids: Tensor, lengths: Tensor | None) -> Tensor:
        count, model = ids.shape[1], self.network.model
        positions = self.lengths[:, None] + torch.arange(count, device=ids.device)
        training = model.training
        # Gradient checkpointing, which is active in training mode only, would silently drop the cache.
        if training:
            model.eval()
        try:
            return self.network.states(ids, positions, self._layout(count, lengths), cache=self.cache)
        finally:
            if training:
                model.train()

    def _layout(self, count: int, lengths: Tensor | None) -> AttentionLayout:
        if self.filled > 0 or (self.block_size is not None and count <= self.block_size):
            return Cached(
                length=count, lengths=lengths, cached=self.filled, cached_lengths=self.lengths, causal=self.causal
            )
        if self.causal or self.block_size is None:
            return Causal(length=count, lengths=lengths)
        return BlockCausal(length=count, lengths=lengths, block=self.block_size)

    def _aligned(self, native: Tensor) -> Tensor:
        first = self.last
        if first is None:
            first = torch.zeros_like(native[:, :1]) if self.autoregressive else native[:, :1]
        return torch.cat([first, native[:, :-1]], dim=1)

    def _remember(self, native: Tensor, added: Tensor) -> None:
        if not self.shifted:
            return
        newest = native[torch.arange(native.shape[0], device=native.device), (added - 1).clamp_min(0)][:, None]
        kept = newest if self.last is None else self.last
        self.last = torch.where((added > 0)[:, None, None], newest, kept)
