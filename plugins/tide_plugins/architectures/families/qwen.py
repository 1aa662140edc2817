"""Diffusion families built from Qwen checkpoints, whose weights keep the names of transformers' Qwen classes."""

from __future__ import annotations

from typing import Any, ClassVar

from .family import Family, Semantics, Settings, Variant

CHAT_END = "<|im_end|>"
"""Ends a turn in ChatML."""
_OF_THE_FAMILY = frozenset({"architectures", "auto_map", "model_type", "transformers_version", "torch_dtype", "dtype"})


def without_markers(settings: Settings) -> dict[str, Any]:
    """Return the settings that describe the network, without those that name its class."""
    return {name: value for name, value in settings.items() if name not in _OF_THE_FAMILY}


class Dream(Family):
    """Dream-7B: a Qwen2 that reads both ways and predicts, at each position, the token that follows."""

    name: ClassVar[str] = "dream"
    title: ClassVar[str] = "Dream 7B (arXiv 2508.15487)"
    model_types: ClassVar[frozenset[str]] = frozenset({"Dream", "dream"})
    class_names: ClassVar[frozenset[str]] = frozenset({"DreamModel"})
    mask_token: ClassVar[str | None] = "<|mask|>"
    end_of_turn: ClassVar[str | None] = CHAT_END

    def semantics(self, settings: Settings, variant: Variant) -> Semantics:
        """Full attention, logits shifted right."""
        return Semantics(form="bidirectional", shift="right")

    def native_config(self, settings: Settings) -> dict[str, Any]:
        """Qwen2 with the same settings."""
        return {**without_markers(settings), "model_type": "qwen2", "use_sliding_window": False}
