"""WeDLM: causal block diffusion that reads the observed tokens of a block before its masked ones. Imports no torch."""

from __future__ import annotations

from typing import Any, ClassVar

from tide_specs import CheckpointError

from .family import Family, Semantics, Settings, Variant
from .qwen import CHAT_END, NO_WINDOW, qwen_config
from .requirements import refuse_others

_BLOCK = 32


class Wedlm(Family):
    """WeDLM 7B (from Qwen2.5) and 8B (from Qwen3): causal attention over reordered blocks.

    ``native``: in a noisy block the observed tokens come before the masked ones, each at its own rotary position, and nothing
    sees what comes behind it; masked positions predict their own token. ``published``, as TIDE's released trainer runs it:
    blocks that see themselves both ways, in the order of the text. Both read [x_0, x_t].
    """

    name: ClassVar[str] = "wedlm"
    title: ClassVar[str] = "WeDLM (arXiv 2512.22737)"
    model_types: ClassVar[frozenset[str]] = frozenset({"wedlm"})
    class_names: ClassVar[frozenset[str]] = frozenset({"WeDLMForCausalLM", "WeDLMModel"})
    usual_mask_token_id: ClassVar[int | None] = 151665
    """What the published engine falls back to."""
    end_of_turn: ClassVar[str | None] = CHAT_END

    def semantics(self, settings: Settings, variant: Variant) -> Semantics:
        """Blocks of 32, in which it was trained; its own decoding slides a window, which causal attention allows."""
        native = variant == "native"
        return Semantics(
            form="block_diffusion",
            block_size=settings.get("block_size") or _BLOCK,
            order="clean_first",
            causal=native,
            observed_first=native,
        )

    def native_config(self, settings: Settings) -> dict[str, Any]:
        """Qwen3 where queries and keys are normalised, else Qwen2, whose projections have biases."""
        refuse_others(self.title, settings, NO_WINDOW)
        normed, biased = bool(settings.get("qk_norm", False)), bool(settings.get("attention_bias", True))
        if normed == biased:
            raise CheckpointError(
                f"config.json: qk_norm {normed} with attention_bias {biased}: no transformers class computes that for "
                f"{self.title}; only qk_norm true without biases (Qwen3) or biases alone (Qwen2) can be loaded"
            )
        config = qwen_config(self.title, settings, "qwen3" if normed else "qwen2")
        return {"head_dim": config["hidden_size"] // config["num_attention_heads"], **config}
