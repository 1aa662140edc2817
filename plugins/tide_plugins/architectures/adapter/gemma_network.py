"""DiffusionGemma's encoder and decoder as functions of ids, positions and a symbolic layout.

Shapes: B rows, P positions of a pass, Hk key heads, D head size, H hidden size, C vocabulary, n positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tide_specs import AttentionBackend, AttentionLayout, Head

from .cache import AppendedCache, AppendedLayer
from .gemma_attention import CanvasAttention
from .interface import AttentionPass


@dataclass
class KeysValues:
    """Keys and values [B, Hk, P, D] of one layer."""

    keys: Tensor
    values: Tensor


@dataclass
class Prefix:
    """The encoder's keys and values of clean tokens, as the library's encoder writes them and its decoder reads them."""

    layers: list[KeysValues] = field(default_factory=lambda: [])
    is_compileable: bool = False

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Record a layer's keys and values [B, Hk, P, D], in the order of the layers, and return them."""
        self.layers[layer:] = [KeysValues(keys, values)]
        return keys, values


class GemmaNetwork:
    """Wraps the library's ``DiffusionGemmaForBlockDiffusion``; owns nothing but references."""

    def __init__(self, model: Any, attention: AttentionBackend) -> None:
        self.model = model
        self.attention = attention
        self.canvases = CanvasAttention(inner=attention)
        self.settings: Any = model.config.get_text_config()
        self._recalled: Tensor | None = None
        # The library takes logits [B, P, C] of the step before and turns them into embeddings [B, P, H]; ours come ready.
        model.model.decoder.self_conditioning.register_forward_pre_hook(self._hand_over)

    def encode(self, ids: Tensor, positions: Tensor, layout: AttentionLayout, cache: Any) -> Tensor:
        """Read clean ids [B, P] causally: write keys and values into ``cache``, return hidden states [B, P, H]."""
        out = self.model.model.encoder.language_model(
            input_ids=ids,
            attention_mask=self._no_masks(),
            position_ids=positions.expand(ids.shape[0], -1),
            past_key_values=cache,
            tide_pass=AttentionPass(layout=layout, backend=self.attention),
        )
        return out.last_hidden_state

    def decode(
        self, ids: Tensor, positions: Tensor, layout: AttentionLayout, prefix: Prefix, recalled: Tensor | None = None
    ) -> Tensor:
        """Read noised ids [B, P] beside the prefix -> hidden states [B, P, H]. ``recalled`` [B, P, H]: see ``recall``."""
        self._recalled = recalled
        try:
            out = self.model.model.decoder(
                decoder_input_ids=ids,
                past_key_values=prefix,
                decoder_attention_mask=self._no_masks(),
                decoder_position_ids=positions.expand(ids.shape[0], -1),
                tide_pass=AttentionPass(layout=layout, backend=self.canvases),
            )
        finally:
            self._recalled = None
        return out.last_hidden_state

    @torch.no_grad()
    def recall(self, logits: Tensor) -> Tensor:
        """Logits [n, C] of a prediction -> its mean embedding [n, H], which the decoder can read in its next pass."""
        embedding: Any = self.model.model.decoder.embed_tokens
        weight: Tensor = embedding.weight
        likely = logits.to(weight.dtype).softmax(dim=-1, dtype=torch.float32).to(weight.dtype)
        return likely @ weight * embedding.embed_scale.to(weight.dtype)

    def head(self) -> Head:
        """Return the output projection and its soft cap."""
        return Head(self.model.lm_head.weight, softcap=float(self.settings.final_logit_softcapping))

    def prefix_of(self, cache: AppendedCache, rows: int) -> Prefix:
        """Return the filled slots of a decoding cache as the decoder reads them: views, nothing is copied."""
        held: Sequence[Any] = cache.layers or [None] * int(self.settings.num_hidden_layers)
        return Prefix([self._filled(layer, number, rows) for number, layer in enumerate(held)])

    def _filled(self, layer: Any, number: int, rows: int) -> KeysValues:
        if isinstance(layer, AppendedLayer) and layer.keys is not None and layer.values is not None:
            return KeysValues(layer.keys[:, :, : layer.filled], layer.values[:, :, : layer.filled])
        sizes: Any = self.settings.per_layer_config[number]
        weight: Tensor = self.model.lm_head.weight
        empty = weight.new_empty((rows, sizes.num_key_value_heads, 0, sizes.head_dim))
        return KeysValues(empty, empty)

    def _no_masks(self) -> dict[str, None]:
        """Given masks of its own making, the library builds none: the layout says everything."""
        return dict.fromkeys(self.settings.layer_types)

    def _hand_over(self, _: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return given if self._recalled is None else (given[0], self._recalled.to(given[0].dtype))
