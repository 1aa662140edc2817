"""A transformers model seen as: ids, positions and a layout in; hidden states before the head out.

Shapes: B rows, P positions of the input, H hidden size, C vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tide_specs import AttentionBackend, AttentionLayout, Cached, DataError, Head, UnavailableError

from .interface import AttentionPass, Seen
from .tied import TiedLookup, is_tied


class Network:
    """Wraps the library's model; owns nothing but references. ``caches``: a key/value cache works, as verified."""

    def __init__(self, model: Any, attention: AttentionBackend) -> None:
        self.model = model
        self.attention = attention
        self.base: Any = model.base_model
        self.transform = prediction_transform(model)
        accepted = inspect.signature(self.base.forward).parameters
        self.caches = False
        self.tied = is_tied(model) and "inputs_embeds" in accepted
        self._head_weight: Tensor | None = None
        """What the last lookup of a tied embedding handed on for the head."""
        self.takes_cache = "past_key_values" in accepted
        self.position_offset = _position_offset(self.base)
        self.longest = _position_table(self.base, self.position_offset)
        if "position_ids" not in accepted:
            raise UnavailableError(
                f"{self.family} takes no position_ids, so that TIDE cannot say where its tokens stand"
            )
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values()):
            raise UnavailableError(f"{self.family} does not hand keyword arguments down to its attention layers")

    @property
    def family(self) -> str:
        """The model's class and model type, for messages."""
        return f"{type(self.model).__name__} (model_type {self.model.config.model_type!r})"

    def states(
        self,
        ids: Tensor,
        positions: Tensor,
        layout: AttentionLayout,
        *,
        cache: Any = None,
        seen: list[Seen] | None = None,
        backend: AttentionBackend | None = None,
    ) -> Tensor:
        """Ids [B, P], positions [B or 1, P] from 0 -> hidden states [B, P, H], as the head wants them."""
        length = layout.length + (layout.cached if isinstance(layout, Cached) else 0)
        if self.longest is not None and length > self.longest:
            raise DataError(
                f"{self.family} has learned {self.longest} positions, but a row has {length} tokens: shorten it"
            )
        handed = AttentionPass(layout=layout, backend=backend or self.attention, seen=seen)
        extra: dict[str, Any] = {"past_key_values": cache, "use_cache": cache is not None} if self.takes_cache else {}
        out = self.base(
            **self._input(ids),
            position_ids=(positions + self.position_offset).expand(ids.shape[0], -1),
            tide_pass=handed,
            **extra,
        )
        hidden: Tensor = out[0]
        return hidden if self.transform is None else self.transform(hidden)

    def _input(self, ids: Tensor) -> dict[str, Tensor]:
        weight: Tensor = self.model.get_input_embeddings().weight
        if not (self.tied and torch.is_grad_enabled() and weight.requires_grad):
            self._head_weight = None
            return {"input_ids": ids}
        rows, self._head_weight = TiedLookup.apply(ids, weight)
        return {"inputs_embeds": rows}

    def head(self) -> Head:
        """Return the output projection with the family's scale and soft cap."""
        output: Any = self.model.get_output_embeddings()
        # Used up: it belongs to one forward pass.
        handed, self._head_weight = self._head_weight, None
        weight = output.weight if handed is None else handed
        config: Any = self.model.config
        scale = float(getattr(config, "logit_scale", None) or 1.0) / float(
            getattr(config, "logits_scaling", None) or 1.0
        )
        cap = getattr(config, "final_logit_softcapping", None)
        return Head(weight, getattr(output, "bias", None), scale, None if cap is None else float(cap))


class _Chain:
    """Functions applied one after another."""

    def __init__(self, *steps: Callable[[Tensor], Tensor]) -> None:
        self.steps = steps

    def __call__(self, hidden: Tensor) -> Tensor:
        for step in self.steps:
            hidden = step(hidden)
        return hidden


def prediction_transform(model: Any) -> Any:
    """Return what a masked language model applies between its last layer and its output matrix, or ``None``."""
    predictions: Any = getattr(getattr(model, "cls", model), "predictions", None)
    if hasattr(predictions, "transform"):  # BERT and its relatives
        return predictions.transform
    if hasattr(predictions, "LayerNorm"):  # ALBERT, RemBERT
        return _Chain(predictions.dense, predictions.activation, predictions.LayerNorm)
    head: Any = getattr(model, "lm_head", None)
    if hasattr(head, "dense") and hasattr(head, "layer_norm"):  # RoBERTa and its relatives
        return _Chain(head.dense, nn.functional.gelu, head.layer_norm)
    if hasattr(model, "vocab_transform"):  # DistilBERT
        return _Chain(model.vocab_transform, model.activation, model.vocab_layer_norm)
    if hasattr(model, "generator_predictions"):  # ELECTRA
        return model.generator_predictions
    if isinstance(getattr(model, "decoder", None), nn.Linear):  # ModernBERT, its decoder
        return getattr(model, "head", head)
    return None


def _position_offset(base: Any) -> int:
    # RoBERTa and its relatives count positions from padding_idx + 1.
    embeddings: Any = getattr(base, "embeddings", None)
    if hasattr(embeddings, "create_position_ids_from_input_ids"):
        return int(embeddings.padding_idx) + 1
    return 0


def _position_table(base: Any, offset: int) -> int | None:
    """Return how many positions a learned table has; ``None`` for models without one."""
    tables = [m for name, m in base.named_modules() if isinstance(m, nn.Embedding) and _is_position(name)]
    offset = max([offset, *(int(getattr(table, "offset", 0)) for table in tables)])
    return min((table.num_embeddings - offset for table in tables), default=None)


def _is_position(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last in ("wpe", "embed_positions", "position_embeddings")
