"""A tiny transformer, and its decoding session with a key/value cache.

Shapes: B rows, P positions, n new tokens, S cached slots, H hidden size, h heads, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tide_specs.attention import AttentionBackend, AttentionOptions
from tide_specs.denoiser import DecodingSession
from tide_specs.layout import AttentionLayout, Cached
from tide_specs.module_denoiser import ModuleDenoiser

KeysAndValues = list[tuple[Tensor, Tensor]]


class ToyLayer(nn.Module):
    """Attention and a feed-forward network, each behind a norm and around a residual."""

    def __init__(self, hidden: int, heads: int, attention: AttentionBackend) -> None:
        super().__init__()
        self.heads = heads
        self.attention = attention
        self.before_attention, self.before_mlp = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))

    def forward(
        self, x: Tensor, layout: AttentionLayout, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """X [B, P, H] -> the same, and this layer's new keys and values [B, h, P, D]."""
        q, k, v = self.qkv(self.before_attention(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        keys, values = (k, v) if past is None else (torch.cat([past[0], k], 2), torch.cat([past[1], v], 2))
        options = AttentionOptions(scale=q.shape[3] ** -0.5)
        attended = self.attention.attend(q, keys, values, layout, options)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.before_mlp(x)), (k, v)


class ToyTransformer(nn.Module):
    """Embeds, attends, normalises; see ``ModuleDenoiser`` for what ``forward`` must look like."""

    def __init__(
        self, vocabulary: int, attention: AttentionBackend, *, hidden: int = 16, layers: int = 2, heads: int = 2
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, hidden)
        self.positions = nn.Embedding(512, hidden)
        self.layers = nn.ModuleList(ToyLayer(hidden, heads, attention) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, vocabulary, bias=False)
        nn.init.normal_(self.head.weight, std=0.5)
        nn.init.normal_(self.positions.weight, std=0.5)

    def forward(self, ids: Tensor, positions: Tensor, layout: AttentionLayout) -> Tensor:
        """Ids [B, P], positions [B or 1, P] -> hidden states [B, P, H]."""
        return self.cached(ids, positions, layout, None)[0]

    def cached(
        self, ids: Tensor, positions: Tensor, layout: AttentionLayout, past: KeysAndValues | None
    ) -> tuple[Tensor, KeysAndValues]:
        """Return hidden states, and the keys and values of the new positions, layer by layer."""
        x: Tensor = self.tokens(ids) + self.positions(positions)
        new: KeysAndValues = []
        for number, layer in enumerate(self.layers):
            x, made = layer(x, layout, None if past is None else past[number])
            new.append(made)
        return self.norm(x), new


class ToyDenoiser(ModuleDenoiser):
    """A ``ToyTransformer`` in any form; decodes incrementally in all but the bidirectional one."""

    def session(self, rows: int) -> DecodingSession:
        """Return an empty session."""
        if self.form == "bidirectional":
            return super().session(rows)
        return ToySession(self, rows)


class ToySession(DecodingSession):
    """Keys and values of clean tokens; row b fills the first ``lengths[b]`` slots."""

    def __init__(self, denoiser: ToyDenoiser, rows: int) -> None:
        self.module: Any = denoiser.module
        self.causal = denoiser.form == "autoregressive"
        self.block = denoiser.block_size or 1
        self.lengths = torch.zeros(rows, dtype=torch.int64)
        self.past: KeysAndValues | None = None
        hidden = self.module.head.weight.shape[1]
        self.last = self.module.head.weight.new_zeros(rows, 1, hidden)

    @torch.no_grad()
    def extend(self, clean: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Append clean tokens [B, n], block by block; return hidden [B, n, H]."""
        rows, count = clean.shape
        added = torch.full((rows,), count) if lengths is None else lengths
        step = count if self.causal else self.block
        parts: list[Tensor] = []
        for start in range(0, count, max(1, step)):
            ids = clean[:, start : start + step]
            parts.append(self._append(ids, (added - start).clamp(0, ids.shape[1])))
        return torch.cat(parts, 1)

    @torch.no_grad()
    def hidden(self, noised: Tensor) -> Tensor:
        """Predict what follows the cache; an autoregressive model predicts one token, whatever is given."""
        if self.causal:
            return self.last
        return self._run(noised, None)[0]

    @torch.no_grad()
    def keep(self, rows: Tensor) -> None:
        """Keep only some rows."""
        self.lengths, self.last = self.lengths[rows], self.last[rows]
        if self.past is not None:
            self.past = [(k[rows], v[rows]) for k, v in self.past]

    def _run(self, ids: Tensor, lengths: Tensor | None) -> tuple[Tensor, KeysAndValues]:
        slots = 0 if self.past is None else self.past[0][0].shape[2]
        positions = self.lengths[:, None] + torch.arange(ids.shape[1])
        layout = Cached(
            length=ids.shape[1], lengths=lengths, cached=slots, cached_lengths=self.lengths, causal=self.causal
        )
        return self.module.cached(ids, positions, layout, self.past)

    def _append(self, ids: Tensor, added: Tensor) -> Tensor:
        native, new = self._run(ids, added)
        rows, count = ids.shape
        row, place = (torch.arange(count) < added[:, None]).nonzero(as_tuple=True)
        slot = (self.lengths[:, None] + torch.arange(count))[row, place]
        size = int((self.lengths + added).max()) if rows else 0
        old = self.past or [(k[:, :, :0], v[:, :, :0]) for k, v in new]
        self.past = [tuple_of(_grown(a, b, size, row, place, slot) for a, b in zip(o, n, strict=True)) for o, n in zip(old, new, strict=True)]  # fmt: skip
        self.lengths = self.lengths + added
        before = torch.cat([self.last, native[:, :-1]], 1)
        newest = native[torch.arange(rows), (added - 1).clamp(min=0)][:, None]
        self.last = torch.where((added > 0)[:, None, None], newest, self.last)
        return before if self.causal else native


def tuple_of(pair: Any) -> tuple[Tensor, Tensor]:
    """Return the two tensors of an iterable as a pair."""
    first, second = pair
    return first, second


def _grown(old: Tensor, new: Tensor, size: int, row: Tensor, place: Tensor, slot: Tensor) -> Tensor:
    """Old slots [B, h, S, D] enlarged to ``size``, with new positions [B, h, n, D] written into their slots."""
    grown = old.new_zeros(old.shape[0], old.shape[1], size, old.shape[3])
    kept = min(size, old.shape[2])
    grown[:, :, :kept] = old[:, :, :kept]
    grown[row, :, slot] = new[row, :, place]
    return grown
