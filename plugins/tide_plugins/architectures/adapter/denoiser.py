"""The denoisers: one per form, over one ``Network``.

Shapes: B rows, L tokens, V views, S = streams of noisy tokens, H hidden size. ``native`` [B, L, H] is what the model
computes at each position; shifted right, what it computes at i - 1 predicts token i.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tide_specs import (
    BlockCausal,
    BlockDiffusion,
    Causal,
    DecodingSession,
    Denoiser,
    Form,
    Full,
    Head,
    TextTokenizer,
    UnavailableError,
)

from .network import Network
from .saving import Record, save


def positions_of(length: int, documents: Tensor | None, device: torch.device) -> Tensor:
    """Return position ids [B or 1, L] that restart with every document."""
    index = torch.arange(length, device=device)[None]
    if documents is None:
        return index
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return index - torch.where(first, index, 0).cummax(dim=1).values


class TransformersDenoiser(Denoiser):
    """What all forms share."""

    form: Form
    shifted: bool

    def __init__(self, network: Network, tokenizer: TextTokenizer, record: Record) -> None:
        self.network = network
        self.module = network.model
        self.tokenizer = tokenizer
        self.record = record
        self.form = record.form
        self.block_size = record.block_size
        self.shifted = record.shift == "right"
        self.mask_token_id = None if record.form == "autoregressive" else tokenizer.mask_token_id

    def head(self) -> Head:
        """Return the output projection; its weight is the module's own parameter."""
        return self.network.head()

    def save(self, path: str) -> None:
        """Write a directory that transformers loads by itself, and ``tide.json``, which restores the form."""
        save(self.network.model, self.tokenizer, self.record, path)

    def session(self, rows: int) -> DecodingSession:
        """Return an empty session with a key/value cache. Raises ``NotImplementedError`` for the bidirectional form."""
        if self.form == "bidirectional":
            raise NotImplementedError(
                "a bidirectional model revises every position at every step: nothing can be cached"
            )
        if not self.network.caches:
            raise NotImplementedError(f"{self.network.family} does not use a key/value cache")
        if "cached" not in self.network.attention.layouts:
            raise UnavailableError(f"attention {self.network.attention.name!r} does not serve decoding with a cache")
        from .session import CachedSession

        return CachedSession(self.network, self.record, rows)

    def facts(self) -> dict[str, Any]:
        """Return family, parameters, form and attention for reports."""
        config: Any = self.network.model.config
        return {
            "family": config.model_type,
            "class": type(self.network.model).__name__,
            "parameters": sum(p.numel() for p in self.module.parameters()),
            "trainable_parameters": sum(p.numel() for p in self.module.parameters() if p.requires_grad),
            "form": self.form,
            "block_size": self.block_size,
            "shift": self.record.shift,
            "attention": self.network.attention.name,
            "mask_token_id": self.mask_token_id,
        }


class TextDenoiser(TransformersDenoiser):
    """``bidirectional`` and ``block_causal``: reads the noised tokens alone."""

    def hidden(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Noised ids [B, L] -> hidden states [B, L, H]; ``clean`` is not read."""
        length = noised.shape[1]
        if self.block_size is None:
            layout = Full(length=length, lengths=lengths, documents=documents)
        else:
            layout = BlockCausal(length=length, lengths=lengths, documents=documents, block=self.block_size)
        native = self.network.states(noised, positions_of(length, documents, noised.device), layout)
        return torch.cat([native[:, :1], native[:, :-1]], dim=1) if self.shifted else native


class AutoregressiveDenoiser(TransformersDenoiser):
    """``autoregressive``: reads the clean tokens alone; what it computes at i - 1 predicts token i."""

    def hidden(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Clean ids [B, L] -> hidden states [B, L, H]; ``noised`` is not read. Position 0, which nothing predicts, is zero."""
        length = clean.shape[1]
        layout = Causal(length=length, lengths=lengths, documents=documents)
        native = self.network.states(clean, positions_of(length, documents, clean.device), layout)
        return torch.cat([torch.zeros_like(native[:, :1]), native[:, :-1]], dim=1)

    def hidden_views(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Compute the clean rows once for all views: [V, B, L, H], an expanded tensor."""
        return self.hidden(noised[0], clean, lengths, documents).expand(noised.shape[0], -1, -1, -1)


class BlockDiffusionDenoiser(TransformersDenoiser):
    """``block_diffusion``: reads noisy streams beside the clean sequence (method of BD3LM)."""

    block_size: int

    def hidden(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Noised and clean ids [B, L] -> hidden states of the noisy stream [B, L, H]."""
        return self.hidden_views(noised[None], clean, lengths, documents)[0]

    def hidden_views(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Noised ids [V, B, L] -> [V, B, L, H] with V noisy streams beside one clean stream, which is computed once."""
        views, rows, length = noised.shape
        noisy = noised.transpose(0, 1).reshape(rows, views * length)
        first = self.record.order == "noisy_first"
        layout = BlockDiffusion(
            length=length,
            lengths=lengths,
            documents=documents,
            block=self.block_size,
            order=self.record.order,
            streams=views,
            causal=self.record.causal,
        )
        ids = torch.cat([noisy, clean] if first else [clean, noisy], dim=1)
        positions = positions_of(length, documents, clean.device).repeat(1, views + 1)
        streams = self.network.states(ids, positions, layout).unflatten(1, (views + 1, length)).transpose(0, 1)
        native, known = (streams[:-1], streams[-1]) if first else (streams[1:], streams[0])
        return self._shift(native, known) if self.shifted else native

    def _shift(self, native: Tensor, known: Tensor) -> Tensor:
        # The first token of a block is predicted by the finished block before it, as it is when decoding.
        before = torch.cat([native[:, :, :1], native[:, :, :-1]], dim=2)
        known = torch.cat([known[:, :1], known[:, :-1]], dim=1)
        index = torch.arange(native.shape[2], device=native.device)
        starts = ((index % self.block_size == 0) & (index > 0))[None, None, :, None]
        return torch.where(starts, known[None], before)


def denoiser(network: Network, tokenizer: TextTokenizer, record: Record) -> TransformersDenoiser:
    """Return the denoiser of the record's form."""
    if record.form == "autoregressive":
        return AutoregressiveDenoiser(network, tokenizer, record)
    if record.form == "block_diffusion":
        return BlockDiffusionDenoiser(network, tokenizer, record)
    return TextDenoiser(network, tokenizer, record)
