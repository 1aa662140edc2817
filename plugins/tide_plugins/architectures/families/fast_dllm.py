"""Fast-dLLM v2: Qwen2.5 turned into a block diffusion model that keeps predicting the next token. Imports no torch."""

from __future__ import annotations

from typing import Any, ClassVar

from .family import Family, Semantics, Settings, Variant
from .qwen import CHAT_END, qwen_config

_BLOCK = 32


class FastDllm(Family):
    """Fast-dLLM v2 1.5B and 7B: blocks of ``bd_size`` (default 32), logits at i predict token i + 1.

    Inside a block, token i is predicted at i - 1 of the noisy block. The first token of a block is predicted at the last token
    of the *finished* block before it, as the published ``generate`` does; the published training loss takes the last token
    of the noisy block before it, which is the same where nothing is masked there. Decoding fills a block in sub-blocks of 8.
    """

    name: ClassVar[str] = "fast_dllm"
    title: ClassVar[str] = "Fast-dLLM v2 (arXiv 2509.26328)"
    model_types: ClassVar[frozenset[str]] = frozenset({"Fast_dLLM_Qwen"})
    class_names: ClassVar[frozenset[str]] = frozenset({"Fast_dLLM_QwenForCausalLM", "Fast_dLLM_QwenModel"})
    mask_token: ClassVar[str | None] = "|<MASK>|"
    end_of_turn: ClassVar[str | None] = CHAT_END

    def semantics(self, settings: Settings, variant: Variant) -> Semantics:
        """Trained on [x_t, x_0] and on the complement of its mask; a block sees itself and the finished blocks before it."""
        return Semantics(form="block_diffusion", block_size=settings.get("bd_size") or _BLOCK, shift="right")

    def native_config(self, settings: Settings) -> dict[str, Any]:
        """Qwen2; the published attention never applies a window."""
        return qwen_config(self.title, settings, "qwen2")
