"""LLaDA2.0 and 2.1, block-diffusion models continued from Ling 2.0 (BailingMoeV2). Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .family import Family, Semantics, Settings, Variant
from .requirements import Only, refuse_others, required

BLOCK = 32
"""Tokens of a block; ``config.json`` does not say it, the authors' training and decoding do."""

ROLES = (
    "{% set names = {'system': 'SYSTEM', 'user': 'HUMAN', 'assistant': 'ASSISTANT'} %}{% for message in messages %}"
    "{{ '<role>' + names[message.role] + '</role>' + message.content + '<|role_end|>' }}{% endfor %}"
    "{{ '<role>ASSISTANT</role>' if add_generation_prompt else '' }}"
)
"""Chat template of Ling's markers, for tokenizers without one."""


class Llada2(Family):
    """LLaDA2.0-mini and -flash: sigmoid experts in groups, partial rotary positions, attention causal over blocks of 32."""

    name: ClassVar[str] = "llada2"
    title: ClassVar[str] = "LLaDA2.0 mini and flash (arXiv 2512.15745)"
    model_types: ClassVar[frozenset[str]] = frozenset({"llada2_moe"})
    class_names: ClassVar[frozenset[str]] = frozenset({"LLaDA2MoeModel", "LLaDA2MoeModelLM"})
    mask_token: ClassVar[str | None] = "<|mask|>"
    end_of_turn: ClassVar[str | None] = "<|role_end|>"
    chat_template: ClassVar[str | None] = ROLES

    # Ignored by the published code, hence here: norm_topk_prob, score_function, moe_router_enable_expert_bias,
    # moe_shared_expert_intermediate_size, router_dtype, norm_head, embedding_dropout, output_dropout,
    # use_sliding_window, sliding_window and max_window_layers.
    _expressible: ClassVar[dict[str, Only]] = {
        "use_bias": Only(values=(False,), default=True),
        "rope_scaling": Only(values=(None,), default=None),
    }
    _copied: ClassVar[tuple[str, ...]] = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "moe_intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
    )
    _defaults: ClassVar[dict[str, Any]] = {
        "hidden_act": "silu",
        "max_position_embeddings": 16384,
        "rms_norm_eps": 1e-5,
        "use_qk_norm": True,
        "attention_dropout": 0.1,
        "tie_word_embeddings": False,
        "initializer_range": 0.02,
        "num_experts_per_tok": 2,
        "n_group": 8,
        "topk_group": 4,
        "routed_scaling_factor": 2.5,
        "first_k_dense_replace": 0,
        "eos_token_id": None,
    }

    def semantics(self, settings: Settings, variant: Variant) -> Semantics:
        """Native: block-causal. Published: full attention, in which TIDE's released trainer runs this teacher."""
        if variant == "published":
            return Semantics(form="bidirectional")
        return Semantics(form="block_causal", block_size=BLOCK)

    def native_config(self, settings: Settings) -> dict[str, Any]:
        """GLM-4-MoE, whose router computes the same: the bias chooses, the unbiased scores are the weights."""
        refuse_others(self.title, settings, self._expressible)
        given = {name: settings.get(name, default) for name, default in self._defaults.items()}
        copied = {name: required(self.title, settings, name) for name in self._copied}
        return {
            "model_type": "glm4_moe",
            **copied,
            **given,
            **self._experts(settings),
            "head_dim": settings.get("head_dim") or copied["hidden_size"] // copied["num_attention_heads"],
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": settings.get("rope_theta", 10000.0),
                "partial_rotary_factor": settings.get("partial_rotary_factor", 0.5),
            },
            "attention_bias": settings.get("use_qkv_bias", False),
            "norm_topk_prob": given["num_experts_per_tok"] > 1,  # one expert keeps its own score
            "num_nextn_predict_layers": 0,
        }

    def _experts(self, settings: Settings) -> dict[str, Any]:
        if "num_experts" in settings and settings["num_experts"] is None:
            return {"first_k_dense_replace": settings["num_hidden_layers"]}
        # The native layer always has shared experts; the published one lacks them where this is null.
        shared: int = required(self.title, settings, "num_shared_experts")
        return {"n_routed_experts": settings.get("num_experts", 16), "n_shared_experts": shared}

    def conversions(self) -> Sequence[Any]:
        """Queries, keys and values are one matrix, in this order; the rest is renamed."""
        from transformers.core_model_loading import Split, WeightConverter, WeightRenaming

        renamed = {
            r"^model\.word_embeddings\.": "model.embed_tokens.",
            r"\.attention\.": ".self_attn.",
            r"\.query_layernorm\.": ".q_norm.",
            r"\.key_layernorm\.": ".k_norm.",
            r"\.dense\.": ".o_proj.",
            r"\.mlp\.gate\.expert_bias": ".mlp.gate.e_score_correction_bias",
        }
        # Endings only, so that they are found again after the renamings are undone.
        fused = [
            WeightConverter(
                source_patterns=[f"query_key_value.{kind}"],
                target_patterns=[f"{part}_proj.{kind}" for part in "qkv"],
                operations=[Split(dim=0)],
            )
            for kind in ("weight", "bias")
        ]
        return [*(WeightRenaming(published, native) for published, native in renamed.items()), *fused]

    def adapt(self, model: Any, settings: Settings) -> None:
        """Count every surplus weight: the native class passes over those of GLM's own extra layers."""
        model._keys_to_ignore_on_load_unexpected = set[str]()
