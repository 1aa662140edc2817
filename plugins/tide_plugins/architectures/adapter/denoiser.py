"""The denoisers: one per form, over one ``Network``.

Shapes: B rows, L tokens, V views, S = streams of noisy tokens, H hidden size. ``native`` [B, L, H] is what the model
computes at each position; shifted right, what it computes at i - 1 predicts token i.
"""

from __future__ import annotations

from functools import cached_property
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
from .reorder import observed_first, put_back, segments
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
        self.longest = network.longest
        made_for = getattr(network.model.config, "max_position_embeddings", None)
        self.trained_length = made_for if self.longest is None and isinstance(made_for, int) else None

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

        return CachedSession(
            self.network, self.record, rows, mask_token_id=self.mask_token_id, many=lambda: self.extends_by_many_blocks
        )

    @cached_property
    def extends_by_many_blocks(self) -> bool:
        """Whether the attention backend keeps several new blocks apart behind a cache, as tried on a few numbers."""
        from .cached_blocks import serves

        weight: Tensor = next(self.module.parameters())
        return serves(self.network.attention, weight.device, weight.dtype)

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
        views, _, length = noised.shape
        positions = positions_of(length, documents, clean.device)
        layout = BlockDiffusion(
            length=length,
            lengths=lengths,
            documents=documents,
            block=self.block_size,
            order=self.record.order,
            streams=views,
            causal=self.record.causal,
        )
        if self.record.observed_first:
            segment = segments(length, self.block_size, lengths, documents)
            order = observed_first(noised == self.mask_token_id, segment)
            moved = positions.expand_as(noised).gather(2, order)
            native, known = self._streams(noised.gather(2, order), clean, moved, positions, layout)
            native = put_back(native, order)
        else:
            native, known = self._streams(noised, clean, positions.expand(views, -1, -1), positions, layout)
        return self._shift(native, known) if self.shifted else native

    def _streams(
        self, noised: Tensor, clean: Tensor, moved: Tensor, positions: Tensor, layout: BlockDiffusion
    ) -> tuple[Tensor, Tensor]:
        """Ids [V, B, L] at ``moved`` [V, B or 1, L], beside [B, L] at ``positions`` [B or 1, L]; their states apart."""
        first = layout.order == "noisy_first"
        noisy, places = (each.transpose(0, 1).flatten(1) for each in (noised, moved))
        if places.shape[0] != positions.shape[0]:
            positions = positions.expand(places.shape[0], -1)
        ids = torch.cat([noisy, clean] if first else [clean, noisy], dim=1)
        places = torch.cat([places, positions] if first else [positions, places], dim=1)
        streams = self.network.states(ids, places, layout)
        streams = streams.unflatten(1, (layout.streams + 1, layout.length)).transpose(0, 1)
        return (streams[:-1], streams[-1]) if first else (streams[1:], streams[0])

    def _shift(self, native: Tensor, known: Tensor) -> Tensor:
        # The first token of a block is predicted by the finished block before it, as it is when decoding (Fast-dLLM v2).
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
