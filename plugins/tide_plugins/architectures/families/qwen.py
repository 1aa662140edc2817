"""Dream, and what the families built from Qwen checkpoints share: their weights keep the names of transformers' classes.

Imports no torch.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .family import Family, Semantics, Settings, Variant
from .requirements import Only, required

CHAT_END = "<|im_end|>"
"""Ends a turn in ChatML."""
NO_WINDOW = {"use_sliding_window": Only(values=(False, None), default=False)}
"""For families whose published code would honour a sliding window, which no release has."""
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_OPTIONS = (
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "attention_dropout",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
)


def qwen_config(title: str, settings: Settings, model_type: str, *more: str) -> dict[str, Any]:
    """Return a Qwen configuration with the sizes and options of ``settings``, and those named in ``more``.

    Attention without a window. Raises ``CheckpointError`` where a size is missing.
    """
    options = {name: settings[name] for name in (*_OPTIONS, *more) if settings.get(name) is not None}
    sizes = {name: required(title, settings, name) for name in _SIZES}
    return {"model_type": model_type, "use_sliding_window": False, **sizes, **options}


class Dream(Family):
    """Dream-7B, Dream-Coder and DiffuCoder: a Qwen2 that reads both ways and predicts the token after each position.

    Its ``model_type`` with a ``block_size`` is another model (a block diffusion without the shift), which is left alone.
    """

    name: ClassVar[str] = "dream"
    title: ClassVar[str] = "Dream 7B (arXiv 2508.15487)"
    model_types: ClassVar[frozenset[str]] = frozenset({"Dream", "dream"})
    class_names: ClassVar[frozenset[str]] = frozenset({"DreamModel"})
    mask_token: ClassVar[str | None] = "<|mask|>"
    end_of_turn: ClassVar[str | None] = CHAT_END

    def recognises(self, settings: Settings) -> bool:
        """Return whether it is a Dream without blocks."""
        return super().recognises(settings) and settings.get("block_size") is None

    def semantics(self, settings: Settings, variant: Variant) -> Semantics:
        """Full attention, logits shifted right."""
        return Semantics(form="bidirectional", shift="right")

    def native_config(self, settings: Settings) -> dict[str, Any]:
        """Qwen2; the published attention never applies a window."""
        return qwen_config(self.title, settings, "qwen2")
