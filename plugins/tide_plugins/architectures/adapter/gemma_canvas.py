"""The denoiser of DiffusionGemma: one encoder pass over the clean row serves every canvas and every view.

Shapes: B rows, L tokens, V views, C tokens of a canvas, H hidden size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tide_specs import Causal, DecodingSession, Denoiser, Form, Head, TextTokenizer, UnavailableError

from .denoiser import positions_of
from .gemma_layout import Canvases
from .gemma_network import GemmaNetwork, Prefix


class CanvasDenoiser(Denoiser):
    """The clean row is split into canvases of C tokens; the decoder reads each against the clean tokens before it."""

    form: Form = "block_diffusion"

    def __init__(
        self, network: GemmaNetwork, tokenizer: TextTokenizer, *, canvas_length: int, self_conditioning: float
    ) -> None:
        self.network = network
        self.module = network.model
        self.tokenizer = tokenizer
        self.block_size = self.canvas_length = canvas_length
        self.self_conditioning = self_conditioning
        self.mask_token_id = None
        self.trained_length = int(network.settings.max_position_embeddings)

    def hidden(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Noised and clean ids [B, L] -> the decoder's hidden states [B, L, H]."""
        return self.hidden_views(noised[None], clean, lengths, documents)[0]

    def hidden_views(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Noised ids [V, B, L] of the same clean rows [B, L] -> [V, B, L, H]; the encoder runs once."""
        views, rows, length = noised.shape
        positions = positions_of(length, documents, clean.device)
        prefix = Prefix()
        self.network.encode(clean, positions, Causal(length=length, lengths=lengths, documents=documents), prefix)
        layout = Canvases(length=length, lengths=lengths, documents=documents, block=self.canvas_length, streams=views)
        noisy = noised.transpose(0, 1).reshape(rows, views * length)
        positions = positions.repeat(1, views)
        recalled = self._recalled(noisy, positions, layout, prefix)
        hidden = self.network.decode(noisy, positions, layout, prefix, recalled)
        return hidden.unflatten(1, (views, length)).transpose(0, 1)

    @torch.no_grad()
    def _recalled(self, noisy: Tensor, positions: Tensor, layout: Canvases, prefix: Prefix) -> Tensor | None:
        """Return the first prediction of some rows [B, V L, H], zero in the others; ``None`` when no row has one."""
        if not self.module.training or self.self_conditioning == 0.0:
            return None
        # Drawn on the CPU, so that no device is asked.
        rows = (torch.rand(len(noisy)) < self.self_conditioning).nonzero()[:, 0].tolist()
        if not rows:
            return None
        hidden = self.network.decode(noisy, positions, layout, prefix)
        recalled, head = torch.zeros_like(hidden), self.network.head()
        for row in rows:
            for part in head.slices(hidden.shape[1]):
                recalled[row, part] = self.network.recall(head.logits(hidden[row, part])).to(recalled.dtype)
        return recalled

    def head(self) -> Head:
        """Return the output projection; its weight is the embedding of encoder and decoder."""
        return self.network.head()

    def save(self, path: str) -> None:
        """Write a directory that transformers loads by itself, vision tower included."""
        Path(path).mkdir(parents=True, exist_ok=True)
        self.network.model.save_pretrained(path)
        self.tokenizer.save(path)

    def session(self, rows: int) -> DecodingSession:
        """Return an empty session over the encoder's keys and values."""
        if "cached" not in self.network.attention.layouts:
            raise UnavailableError(f"attention {self.network.attention.name!r} does not serve decoding with a cache")
        from .gemma_session import CanvasSession

        return CanvasSession(self.network, rows)

    def facts(self) -> dict[str, Any]:
        """Return family, parameters, form, canvas length and attention for reports."""
        parameters = list(self.module.parameters())
        return {
            "family": self.network.model.config.model_type,
            "class": type(self.network.model).__name__,
            "parameters": sum(p.numel() for p in parameters),
            "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
            "form": self.form,
            "block_size": self.block_size,
            "shift": "none",
            "attention": self.network.attention.name,
            "mask_token_id": None,
        }
