"""The denoiser: forms, output projection, decoding session, saving.

Shapes: B rows, L tokens, V views, n new tokens, H hidden size, C vocabulary.
"""

# torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from tide_specs import (
    AttentionLayout,
    BlockDiffusion,
    DecodingSession,
    Head,
    ModuleDenoiser,
    TextTokenizer,
    UnavailableError,
)
from tide_specs.module_denoiser import positions_of

from ..families.family import Settings
from .network import DiffusionTransformer, KeyValueCache
from .published import DitForm, model_length, saved_config
from .weights import write_weights

FORBIDDEN = -1e4
"""Added to the mask token's logit: the published models give a clean token no chance to be the mask, and never learn its logit."""


class DitDenoiser(ModuleDenoiser):
    """A ``DiffusionTransformer`` in the bidirectional or the block-diffusion form."""

    def __init__(
        self,
        module: DiffusionTransformer,
        tokenizer: TextTokenizer,
        *,
        form: DitForm,
        block_size: int | None,
        settings: Settings,
    ) -> None:
        super().__init__(module, tokenizer, form=form, block_size=block_size)
        self.network = module
        self.settings = settings
        # Positions are rotary: longer rows can be read, but none was seen in training.
        self.trained_length = model_length(settings)

    def hidden_views(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Noised ids [V, B, L] -> [V, B, L, H]; the block form computes the clean stream once for all views."""
        if self.block_size is None:
            return super().hidden_views(noised, clean, lengths, documents)
        views, _, length = noised.shape
        layout = BlockDiffusion(
            length=length, lengths=lengths, documents=documents, block=self.block_size, streams=views
        )
        ids = torch.cat([noised.transpose(0, 1).flatten(1), clean], dim=1)
        positions = positions_of(length, documents, clean.device).repeat(1, views + 1)
        streams = self.network(ids, positions, layout).unflatten(1, (views + 1, length))
        return streams[:, :views].transpose(0, 1)

    def head(self) -> Head:
        """Return the output projection, which never predicts the mask token (SUBS, arXiv 2406.07524)."""
        linear = self.network.backbone.output_layer.linear
        forbidden = torch.zeros_like(linear.bias)
        if self.mask_token_id is not None:
            forbidden[self.mask_token_id] = FORBIDDEN
        return Head(linear.weight, linear.bias + forbidden)

    def session(self, rows: int) -> DecodingSession:
        """Return an empty session of the block form. Raises ``NotImplementedError`` for the bidirectional form."""
        if self.block_size is None:
            raise NotImplementedError(
                "a bidirectional model revises every position at every step: nothing can be cached"
            )
        attention = self.network.attention
        if "cached" not in attention.layouts:
            raise UnavailableError(f"attention {attention.name!r} does not serve decoding with a cache")
        from ..adapter.saving import Record
        from ..adapter.session import CachedSession

        record = Record(
            form=self.form,
            block_size=self.block_size,
            shift="none",
            order="noisy_first",
            causal=False,
            mask_token=None,
        )
        # The session needs a model that it can run with a cache, and nothing else of transformers.
        return CachedSession(cast(Any, _Cacheable(self.network)), record, rows)

    def save(self, path: str) -> None:
        """Write a directory as it is published, config.json and safetensors, with the tokenizer."""
        Path(path).mkdir(parents=True, exist_ok=True)
        config = saved_config(self.settings, self.network.shape, cast(DitForm, self.form), self.block_size)
        (Path(path) / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        write_weights(self.network, Path(path))
        self.tokenizer.save(path)

    def facts(self) -> dict[str, Any]:
        """Return family, parameters, form and attention for reports."""
        parameters = list(self.network.parameters())
        return {
            "family": "bd3lm" if self.form == "block_diffusion" else "mdlm",
            "class": type(self.network).__name__,
            "parameters": sum(p.numel() for p in parameters),
            "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
            "form": self.form,
            "block_size": self.block_size,
            "attention": self.network.attention.name,
            "mask_token_id": self.mask_token_id,
        }


class _Cacheable:
    """A network as a decoding session runs it."""

    def __init__(self, model: DiffusionTransformer) -> None:
        self.model = model

    def states(self, ids: Tensor, positions: Tensor, layout: AttentionLayout, *, cache: KeyValueCache) -> Tensor:
        """Ids [B, n], positions [B, n] -> hidden states [B, n, H]."""
        return self.model(ids, positions, layout, cache)
