"""SDAR: Qwen3 turned into a block diffusion model. Imports no torch."""

from __future__ import annotations

from typing import Any, ClassVar

from .family import Family, Semantics, Settings, Variant
from .qwen import CHAT_END, NO_WINDOW, qwen_config
from .requirements import refuse_others, required

_BLOCK = 4


class Sdar(Family):
    """SDAR 1.7B, 4B and 8B: Qwen3 in blocks of ``block_size`` (default 4); logits at i predict token i.

    The releases spell the mask token in two ways and all give it one id, so it is found by the id.
    """

    name: ClassVar[str] = "sdar"
    title: ClassVar[str] = "SDAR (arXiv 2510.06303)"
    model_types: ClassVar[frozenset[str]] = frozenset({"sdar"})
    class_names: ClassVar[frozenset[str]] = frozenset({"SDARForCausalLM", "SDARModel"})
    usual_mask_token_id: ClassVar[int | None] = 151669
    end_of_turn: ClassVar[str | None] = CHAT_END

    def semantics(self, settings: Settings, variant: Variant) -> Semantics:
        """Trained on [x_t, x_0]; a block sees itself and the finished blocks before it."""
        return Semantics(form="block_diffusion", block_size=settings.get("block_size") or _BLOCK)

    def native_config(self, settings: Settings) -> dict[str, Any]:
        """Qwen3."""
        refuse_others(self.title, settings, NO_WINDOW)
        return qwen_config(self.title, settings, "qwen3", "attention_bias")


class SdarMoe(Sdar):
    """SDAR 30B-A3B: Qwen3-MoE in blocks; routing as in Qwen3-MoE."""

    name: ClassVar[str] = "sdar_moe"
    title: ClassVar[str] = "SDAR-MoE (arXiv 2510.06303)"
    model_types: ClassVar[frozenset[str]] = frozenset({"sdar_moe"})
    class_names: ClassVar[frozenset[str]] = frozenset({"SDARMoeForCausalLM", "SDARMoeModel"})

    _routing: ClassVar[tuple[str, ...]] = ("num_experts", "num_experts_per_tok", "moe_intermediate_size")
    _optional: ClassVar[tuple[str, ...]] = (
        "attention_bias",
        "norm_topk_prob",
        "decoder_sparse_step",
        "mlp_only_layers",
        "router_aux_loss_coef",
    )

    def native_config(self, settings: Settings) -> dict[str, Any]:
        """Qwen3-MoE."""
        refuse_others(self.title, settings, NO_WINDOW)
        routing = {name: required(self.title, settings, name) for name in self._routing}
        return {**qwen_config(self.title, settings, "qwen3_moe", *self._optional), **routing}
