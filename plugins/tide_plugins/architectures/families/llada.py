"""LLaDA and LLaDA-MoE, which share a ``model_type`` and nothing else. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tide_specs import CheckpointError

from .family import Family, Semantics, Settings, Variant, published_classes
from .llada2 import ROLES
from .requirements import Only, refuse_others, required

_HEADERS = (
    "{% for message in messages %}{{ bos_token if loop.first and bos_token is defined else '' }}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content + '<|eot_id|>' }}{% endfor %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' if add_generation_prompt else '' }}"
)
_NO = Only(values=(False, None), default=False)
_MOE_CLASSES = frozenset({"LLaDAMoEModel", "LLaDAMoEModelLM"})


def _has_experts(settings: Settings) -> bool:
    # The published LLaDA-MoE checkpoints say `model_type: llada` like the dense ones.
    return bool(settings.get("num_experts")) or not _MOE_CLASSES.isdisjoint(published_classes(settings))


class Llada(Family):
    """LLaDA-8B Base, Instruct and 1.5: a Llama without grouped queries under names of its own, reading both ways."""

    name: ClassVar[str] = "llada"
    title: ClassVar[str] = "LLaDA 8B (arXiv 2502.09992)"
    model_types: ClassVar[frozenset[str]] = frozenset({"llada"})
    class_names: ClassVar[frozenset[str]] = frozenset({"LLaDAModel", "LLaDAModelLM"})
    mask_token: ClassVar[str | None] = "<|mdm_mask|>"
    end_of_turn: ClassVar[str | None] = "<|eot_id|>"
    chat_template: ClassVar[str | None] = _HEADERS

    _expressible: ClassVar[dict[str, Only]] = {
        "block_type": Only(values=("llama",), default="sequential"),
        "block_group_size": Only(values=(1,), default=1),
        "rope": Only(values=(True,), default=False),
        "alibi": _NO,
        "layer_norm_type": Only(values=("rms",), default="default"),
        "layer_norm_with_affine": Only(values=(True,), default=True),
        "bias_for_layer_norm": _NO,  # left open, it follows include_bias, which must be off
        "attention_layer_norm": _NO,
        "activation_type": Only(values=("silu", "gelu", "relu"), default="swiglu"),
        "include_bias": _NO,
        "include_qkv_bias": _NO,
        "input_emb_norm": _NO,
        "scale_logits": _NO,
        "residual_dropout": Only(values=(0,), default=0.1),
        "embedding_dropout": Only(values=(0,), default=0.1),
    }

    def recognises(self, settings: Settings) -> bool:
        """Return whether it is a LLaDA without experts."""
        return super().recognises(settings) and not _has_experts(settings)

    def semantics(self, settings: Settings, variant: Variant) -> Semantics:
        """Full attention; logits at i predict token i."""
        return Semantics(form="bidirectional")

    def native_config(self, settings: Settings) -> dict[str, Any]:
        """Llama. ``rope_full_precision`` moves rounding only: the library rotates in the precision of the model."""
        refuse_others(self.title, settings, self._expressible)
        width: int = required(self.title, settings, "d_model")
        heads: int = required(self.title, settings, "n_heads")
        return {
            "model_type": "llama",
            "vocab_size": settings.get("embedding_size") or required(self.title, settings, "vocab_size"),
            "hidden_size": width,
            "intermediate_size": settings.get("mlp_hidden_size") or settings.get("mlp_ratio", 4) * width,
            "num_hidden_layers": required(self.title, settings, "n_layers"),
            "num_attention_heads": heads,
            "num_key_value_heads": self._key_heads(settings, heads),
            "hidden_act": settings["activation_type"],
            "max_position_embeddings": settings.get("max_sequence_length", 1024),
            "rms_norm_eps": settings.get("rms_norm_eps", 1e-5),
            "rope_parameters": {"rope_type": "default", "rope_theta": settings.get("rope_theta", 10000.0)},
            "attention_dropout": settings.get("attention_dropout", 0.1),
            "tie_word_embeddings": settings.get("weight_tying", True),
            "initializer_range": settings.get("init_std", 0.02),
            "bos_token_id": None,
            "eos_token_id": settings.get("eos_token_id"),
        }

    def _key_heads(self, settings: Settings, heads: int) -> int:
        shared, named = settings.get("multi_query_attention"), settings.get("n_kv_heads")
        implied = None if shared is None else (1 if shared else heads)
        if None not in (named, implied) and named != implied:
            raise CheckpointError(
                f"config.json: n_kv_heads is {named}, but multi_query_attention {shared} makes it {implied}: remove one"
            )
        return named or implied or heads

    def conversions(self) -> Sequence[Any]:
        """The names of OLMo's first code base."""
        from transformers.core_model_loading import WeightRenaming

        renamed = {
            r"^model\.transformer\.wte\.": "model.embed_tokens.",
            r"^model\.transformer\.ln_f\.": "model.norm.",
            r"^model\.transformer\.ff_out\.": "lm_head.",
            r"^model\.transformer\.blocks\.": "model.layers.",
            r"\.attn_norm\.": ".input_layernorm.",
            r"\.ff_norm\.": ".post_attention_layernorm.",
            r"\.q_proj\.": ".self_attn.q_proj.",
            r"\.k_proj\.": ".self_attn.k_proj.",
            r"\.v_proj\.": ".self_attn.v_proj.",
            r"\.attn_out\.": ".self_attn.o_proj.",
            r"\.ff_proj\.": ".mlp.gate_proj.",
            r"\.up_proj\.": ".mlp.up_proj.",
            r"\.ff_out\.": ".mlp.down_proj.",
        }
        return [WeightRenaming(published, native) for published, native in renamed.items()]

    def published_config(self, settings: Settings, vocabulary: int) -> dict[str, Any]:
        """The same settings; ``embedding_size`` counts the rows, ``vocab_size`` changes only when they do."""
        before = settings.get("embedding_size") or settings["vocab_size"]
        sizes = {} if vocabulary == before else {"vocab_size": vocabulary, "embedding_size": vocabulary}
        return {**settings, **sizes}


class LladaMoe(Family):
    """LLaDA-MoE-7B-A1B Base and Instruct: softmax experts whose weights are not renormalised, reading both ways."""

    name: ClassVar[str] = "llada_moe"
    title: ClassVar[str] = "LLaDA-MoE 7B-A1B (arXiv 2509.24389)"
    model_types: ClassVar[frozenset[str]] = frozenset({"lladamoe", "llada_moe"})
    class_names: ClassVar[frozenset[str]] = _MOE_CLASSES
    mask_token: ClassVar[str | None] = "<|mask|>"
    end_of_turn: ClassVar[str | None] = "<|role_end|>"
    chat_template: ClassVar[str | None] = ROLES

    # Ignored by the published code, hence here: norm_topk_prob, moe_router_score_function, routed_scaling_factor,
    # router_num_group, router_topk_group, use_cache.
    _expressible: ClassVar[dict[str, Only]] = {
        "qk_layernorm": Only(values=(True,), default=None),
        "clip_qkv": Only(values=(None,), default=None),
        "shared_expert_intermediate_size": Only(values=(None,), default=None),
        "rope_scaling": Only(values=(None,), default=None),
        "partial_rotary_factor": Only(values=(1, None), default=None),
    }
    _copied: ClassVar[tuple[str, ...]] = (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_experts",
        "num_experts_per_tok",
    )

    def recognises(self, settings: Settings) -> bool:
        """Return whether it is one, also under the dense models' ``model_type``."""
        return super().recognises(settings) or (settings.get("model_type") == "llada" and _has_experts(settings))

    def semantics(self, settings: Settings, variant: Variant) -> Semantics:
        """Full attention; logits at i predict token i."""
        return Semantics(form="bidirectional")

    def native_config(self, settings: Settings) -> dict[str, Any]:
        """Qwen3-MoE, which normalises queries and keys per head, as this family does and OLMoE does not."""
        refuse_others(self.title, settings, self._expressible)
        copied = {name: required(self.title, settings, name) for name in self._copied}
        experts: int = required(self.title, settings, "expert_intermediate_size")
        return {
            "model_type": "qwen3_moe",
            **copied,
            "num_key_value_heads": settings.get("num_key_value_heads") or copied["num_attention_heads"],
            "head_dim": copied["hidden_size"] // copied["num_attention_heads"],
            "intermediate_size": settings.get("dense_intermediate_size") or experts,
            "moe_intermediate_size": experts,
            "mlp_only_layers": self._dense_layers(settings, copied["num_hidden_layers"]),
            "norm_topk_prob": False,
            "hidden_act": settings.get("hidden_act", "silu"),
            "max_position_embeddings": settings.get("max_position_embeddings", 4096),
            "rms_norm_eps": settings.get("rms_norm_eps", 1e-5),
            "rope_parameters": {"rope_type": "default", "rope_theta": required(self.title, settings, "rope_theta")},
            "attention_bias": settings.get("attention_bias", False),
            "attention_dropout": settings.get("attention_dropout", 0.0),
            "tie_word_embeddings": settings.get("tie_word_embeddings", False),
            "initializer_range": settings.get("initializer_range", 0.02),
            "eos_token_id": settings.get("eos_token_id"),
        }

    def _dense_layers(self, settings: Settings, layers: int) -> list[int]:
        sparse: list[int] = required(self.title, settings, "moe_layer_freq")
        if len(sparse) < layers:
            raise CheckpointError(f"config.json: moe_layer_freq has {len(sparse)} entries for {layers} layers")
        return [layer for layer in range(layers) if not sparse[layer]]

    def conversions(self) -> Sequence[Any]:
        """The names are the native ones, but for the expert bias, which the published code keeps beside the gate."""
        from transformers.core_model_loading import WeightRenaming

        return [WeightRenaming(r"\.mlp\.expert_bias", ".mlp.gate.expert_bias")]

    def adapt(self, model: Any, settings: Settings) -> None:
        """Put in routers that add the expert bias, where the checkpoint has one."""
        if settings.get("moe_router_enable_expert_bias"):
            from ..adapter.routing import add_expert_bias

            add_expert_bias(model)
