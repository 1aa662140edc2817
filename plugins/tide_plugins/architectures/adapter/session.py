"""Incremental decoding over a key/value cache that holds clean tokens only.

Shapes: B rows, n new tokens, H hidden size. ``native`` [B, n, H] is what the model computes at each position.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tide_specs import AttentionLayout, BlockCausal, Cached, Causal, DecodingSession

from .cache import AppendedCache
from .network import Network
from .reorder import observed_first, put_back
from .saving import Record


class CachedSession(DecodingSession):
    """For the autoregressive form, token by token, and the block forms, block by block.

    ``extend`` of a block form takes whole blocks, the last one of a row excepted: the tokens of a block see each other, unless
    it is causal inside its blocks as well. ``many``: whether the attention backend keeps several new blocks apart behind a
    cache; they are appended one by one where it does not.
    """

    def __init__(
        self,
        network: Network,
        record: Record,
        rows: int,
        *,
        mask_token_id: int | None = None,
        many: Callable[[], bool] = lambda: False,
    ) -> None:
        self.network = network
        self.block_size = record.block_size
        self.shifted = record.shift == "right"
        self.causal = record.form == "autoregressive" or record.causal
        self.autoregressive = record.form == "autoregressive"
        self.observed_first = record.observed_first
        self.mask_token_id = mask_token_id
        self.many = many
        self.cache = AppendedCache()
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=next(network.model.parameters()).device)
        self.filled = 0
        self.last: Tensor | None = None
        """[B, 1, H]: what the model computed at the last token of each row; predicts the next one when shifted."""

    @torch.no_grad()
    def extend(self, clean: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Append clean tokens [B, n], of each row the first ``lengths`` [B]; return hidden [B, n, H]."""
        if self.block_size is None or self._at_once(clean.shape[1], self.block_size):
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
        if self.shifted and noised.shape[1] == 1 and self.last is not None:
            return self.last
        native = self._reordered(noised) if self.observed_first else self._native(noised, None, self._positions(noised))
        return self._aligned(native) if self.shifted else native

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
        block = None if self.causal else self.block_size
        if block is not None and bool(((before % block > 0) & (added > 0)).any()):
            raise ValueError(f"a row ends inside a block of {block}: only whole blocks can be followed by more")
        native = self._native(clean, lengths, self._positions(clean), blocks=True)
        even = lengths is None and bool((before == self.filled).all())
        self.lengths = before + added
        self.filled = self.filled + count if even else int(self.lengths.max())
        self.cache.commit(before, count, self.filled, moved=not even)
        hidden = self._aligned(native) if self.shifted else native
        self._remember(native, added)
        return hidden

    def _at_once(self, count: int, block: int) -> bool:
        return self.causal or self.filled == 0 or count <= block or self.many()

    def _positions(self, ids: Tensor) -> Tensor:
        return self.lengths[:, None] + torch.arange(ids.shape[1], device=ids.device)

    def _reordered(self, noised: Tensor) -> Tensor:
        # What is asked about is one window of the text, wherever its blocks begin, as WeDLM decodes.
        order = observed_first(noised == self.mask_token_id)
        return put_back(self._native(noised.gather(1, order), None, self._positions(noised).gather(1, order)), order)

    def _native(self, ids: Tensor, lengths: Tensor | None, positions: Tensor, *, blocks: bool = False) -> Tensor:
        count, model = ids.shape[1], self.network.model
        training = model.training
        # Gradient checkpointing, which is active in training mode only, would silently drop the cache.
        if training:
            model.eval()
        try:
            return self.network.states(ids, positions, self._layout(count, lengths, blocks), cache=self.cache)
        finally:
            if training:
                model.train()

    def _layout(self, count: int, lengths: Tensor | None, blocks: bool) -> AttentionLayout:
        if self.filled > 0 or (self.block_size is not None and count <= self.block_size):
            apart = blocks and not self.causal and self.block_size is not None and count > self.block_size
            return Cached(
                length=count,
                lengths=lengths,
                cached=self.filled,
                cached_lengths=self.lengths,
                causal=self.causal,
                block=self.block_size if apart else None,
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
