"""Sizes of the tiny models, by family."""

from __future__ import annotations

from typing import Any, Protocol

from tide_plugins.architectures.huggingface import HuggingFace

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GROUPED = {"num_key_value_heads": 2}
HEADS = {**GROUPED, "head_dim": 8}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
MIXTURE = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    **MIXTURE,
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
LAYERS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 3}

CAUSAL: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "qwen2": GROUPED,
    "qwen3": HEADS,
    "qwen3_moe": {**HEADS, **MIXTURE, "num_experts": 4},
    "mistral": {**HEADS, "sliding_window": 3},
    "mixtral": {**HEADS, "num_local_experts": 4, "num_experts_per_tok": 2},
    "olmo": GROUPED,
    "olmo2": GROUPED,
    "olmoe": {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2},
    "gemma": HEADS,
    "gemma2": {**HEADS, **LAYERS, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0},
    "gemma3_text": {**HEADS, **LAYERS},
    "phi": {},
    "phi3": {**GROUPED, "sliding_window": 3},
    "granite": {**GROUPED, "logits_scaling": 4.0, "attention_multiplier": 0.2, "residual_multiplier": 0.5},
    "gpt_neox": {},
    "gpt2": GPT,
    "starcoder2": {**GROUPED, "sliding_window": 3},
    "cohere": {**GROUPED, "logit_scale": 0.25},
    "cohere2": {**HEADS, **LAYERS},
    "glm": HEADS,
    "deepseek_v3": {**LATENT, "n_shared_experts": 1},
    "smollm3": {**GROUPED, "no_rope_layers": [1, 0]},
    "helium": HEADS,
    "ernie4_5": HEADS,
    "gpt_oss": {**HEADS, **LAYERS, "num_local_experts": 4, "num_experts_per_tok": 2},
    "exaone4": {**HEADS, **LAYERS},
    "modernbert-decoder": {"local_attention": 3, "layer_types": LAYERS["layer_types"]},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}
MASKED: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "electra": {"embedding_size": 32},
    "modernbert": {"local_attention": 4, "global_attn_every_n_layers": 2},
    "eurobert": GROUPED,
    "nomic_bert": {},
    "albert": {"embedding_size": 16},
}
FAMILIES = {**CAUSAL, **MASKED}
_OWN_NAMES = ("gpt2", "distilbert")


class Make(Protocol):
    """What the fixture ``make`` does."""

    def __call__(self, model_type: str = "llama", form: str = "bidirectional", **options: Any) -> HuggingFace: ...


def tiny(
    tokenizer: str, model_type: str, form: str, *, sizes: dict[str, Any] | None = None, **options: Any
) -> HuggingFace:
    """Return a component whose model has a few ten thousand weights; dropout is off unless asked for."""
    common = {} if model_type in _OWN_NAMES else TINY
    config = {"model_type": model_type, **common, **FAMILIES.get(model_type, {}), **(sizes or {})}
    chosen: dict[str, Any] = {"dropout": "off", "tokenizer_from": tokenizer, "form": form, **options}
    return HuggingFace(config=config, **chosen)
