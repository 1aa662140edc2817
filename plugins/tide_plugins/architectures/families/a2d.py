"""Students that dLLM and TIDE publish: Qwen turned from autoregression to diffusion. Imports no torch."""

from __future__ import annotations

from typing import Any, ClassVar

from tide_specs import CheckpointError

from .family import Family, Semantics, Settings, Variant, published_classes
from .qwen import CHAT_END, qwen_config

_NATIVE = {"a2d-qwen2": "qwen2", "a2d-qwen3": "qwen3"}
_CLASSES = {
    "A2DQwen2LMHeadModel": "qwen2",
    "A2DQwen2Model": "qwen2",
    "A2DQwen3LMHeadModel": "qwen3",
    "A2DQwen3Model": "qwen3",
}


class A2d(Family):
    """Qwen2.5 and Qwen3 under ``a2d-qwen2`` and ``a2d-qwen3``, trained as MDLM or as BD3LM.

    Nothing in a published checkpoint tells the two apart: it is read as ``bidirectional`` (MDLM) unless ``form`` is given. For
    the ones named bd3lm, and TIDE's distilled students, give ``form: block_diffusion, block_size: 32``.
    """

    name: ClassVar[str] = "a2d"
    title: ClassVar[str] = "A2D students of dLLM and TIDE (arXiv 2602.22661)"
    model_types: ClassVar[frozenset[str]] = frozenset(_NATIVE)
    class_names: ClassVar[frozenset[str]] = frozenset(_CLASSES)
    mask_token: ClassVar[str | None] = "<|mask|>"
    end_of_turn: ClassVar[str | None] = CHAT_END

    def semantics(self, settings: Settings, variant: Variant) -> Semantics:
        """Full attention; logits at i predict token i. Block diffusion where ``form`` says so."""
        return Semantics(form="bidirectional")

    def native_config(self, settings: Settings) -> dict[str, Any]:
        """Qwen2 or Qwen3; where its configuration has a window, the published code does without it."""
        named = {_CLASSES[name] for name in published_classes(settings) if name in _CLASSES}
        native = _NATIVE.get(str(settings.get("model_type"))) or (named.pop() if len(named) == 1 else None)
        if native is None:
            raise CheckpointError(
                f"config.json: model_type {settings.get('model_type')!r} and the classes it names do not say which Qwen this "
                f"is; set model_type to one of {', '.join(_NATIVE)}"
            )
        return qwen_config(self.title, settings, native, *(("attention_bias",) if native == "qwen3" else ()))
