"""LLaDA-MoE: softmax experts whose biased chances choose and weigh, held against a forward pass from its description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import load, logits, random_weights
from llada_reference import (
    Weights,
    attend,
    expert,
    rms_norm,
    rotate,
    rows,
    saved_weights,
    sees_all,
    shapes_of,
    write,
)
from torch import Tensor
from torch.nn.functional import linear

from tide_plugins.architectures.families import recognise
from tide_specs import CheckpointError

SPECIAL = ("<|role_end|>", "<|mask|>")
SETTINGS: dict[str, Any] = {
    "architectures": ["LLaDAMoEModelLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_llada.LLaDAConfig", "AutoModel": "modeling_lladamoe.LLaDAMoEModelLM"},
    "clip_qkv": None,
    "dense_intermediate_size": 40,
    "eos_token_id": 256,
    "expert_intermediate_size": 24,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "max_position_embeddings": 64,
    "model_type": "llada",
    "moe_layer_freq": [1, 0, 1],
    "moe_router_enable_expert_bias": True,
    "moe_router_score_function": "sigmoid",  # the published code does not read it
    "norm_topk_prob": True,  # nor this
    "num_attention_heads": 4,
    "num_experts": 6,
    "num_experts_per_tok": 3,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "output_router_logits": False,
    "pad_token_id": 256,
    "partial_rotary_factor": 1,
    "qk_layernorm": True,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 50000,
    "routed_scaling_factor": 2.5,  # nor this
    "router_num_group": 2,  # nor this
    "router_topk_group": 1,  # nor this
    "shared_expert_intermediate_size": None,
    "tie_word_embeddings": False,
    "use_cache": False,
    "vocab_size": 272,
}


def attention_shapes(settings: dict[str, Any], layer: str) -> dict[str, tuple[int, ...]]:
    """Projections, with biases where the settings say so, and norms per head."""
    width, heads = settings["hidden_size"], settings["num_attention_heads"]
    size = width // heads
    narrow = size * settings["num_key_value_heads"]
    out = {"q": width, "k": narrow, "v": narrow, "o": width}
    found = {f"{layer}.self_attn.{part}_proj.weight": (rows, width) for part, rows in out.items()}
    if settings["attention_bias"]:
        found |= {f"{layer}.self_attn.{part}_proj.bias": (rows,) for part, rows in out.items()}
    return found | {f"{layer}.self_attn.{part}_norm.weight": (size,) for part in "qk"}


def mlp_shapes(settings: dict[str, Any], prefix: str, inner: int) -> dict[str, tuple[int, ...]]:
    """The three matrices of a SwiGLU."""
    width = settings["hidden_size"]
    two = {f"{prefix}.{part}_proj.weight": (inner, width) for part in ("gate", "up")}
    return {**two, f"{prefix}.down_proj.weight": (width, inner)}


def shapes(settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every weight and buffer of the published class."""
    width, ids, experts = settings["hidden_size"], settings["vocab_size"], settings["num_experts"]
    named: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (ids, width), "model.norm.weight": (width,)}
    named["lm_head.weight"] = (ids, width)
    for number, sparse in enumerate(settings["moe_layer_freq"]):
        layer = f"model.layers.{number}"
        named |= attention_shapes(settings, layer)
        named |= {f"{layer}.{norm}_layernorm.weight": (width,) for norm in ("input", "post_attention")}
        if not sparse:
            named |= mlp_shapes(settings, f"{layer}.mlp", settings["dense_intermediate_size"])
            continue
        named[f"{layer}.mlp.gate.weight"] = (experts, width)
        if settings["moe_router_enable_expert_bias"]:
            named[f"{layer}.mlp.expert_bias"] = (experts,)
        for n in range(experts):
            named |= mlp_shapes(settings, f"{layer}.mlp.experts.{n}", settings["expert_intermediate_size"])
    return shapes_of({"once": named, "layer": {}}, 0)


def routed(settings: dict[str, Any], weights: Weights, states: Tensor, prefix: str) -> Tensor:
    """Tokens one by one: the best biased chances choose the experts and are their weights as they stand."""
    flat = states.flatten(0, -2)
    chances = linear(flat, weights[f"{prefix}.gate.weight"]).softmax(-1, dtype=torch.float32)
    if settings["moe_router_enable_expert_bias"]:
        chances = chances + weights[f"{prefix}.expert_bias"].float()
    result = torch.zeros_like(flat)
    for token, row in enumerate(chances):
        for chosen in row.argsort(descending=True)[: settings["num_experts_per_tok"]].tolist():
            result[token] += float(row[chosen]) * expert(flat[token], weights, f"{prefix}.experts.{chosen}")
    return result.view_as(states)


def reference(settings: dict[str, Any], weights: Weights, ids: Tensor, visible: Tensor) -> Tensor:
    """Ids [B, L] -> logits [B, L, C]."""
    eps, size = settings["rms_norm_eps"], settings["hidden_size"] // settings["num_attention_heads"]
    positions = torch.arange(ids.shape[1])
    states = weights["model.embed_tokens.weight"][ids]
    for number, sparse in enumerate(settings["moe_layer_freq"]):
        layer = f"model.layers.{number}"

        def project(part: str, given: Tensor, layer: str = layer) -> Tensor:
            name = f"{layer}.self_attn.{part}_proj"
            return linear(given, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

        normed = rms_norm(states, weights[f"{layer}.input_layernorm.weight"], eps)
        query, key, value = (project(part, normed).unflatten(-1, (-1, size)) for part in "qkv")
        query = rms_norm(query, weights[f"{layer}.self_attn.q_norm.weight"], eps)
        key = rms_norm(key, weights[f"{layer}.self_attn.k_norm.weight"], eps)
        query, key = (rotate(side, positions, settings["rope_theta"], size) for side in (query, key))
        states = states + project("o", attend(query, key, value, visible))
        normed = rms_norm(states, weights[f"{layer}.post_attention_layernorm.weight"], eps)
        mlp = f"{layer}.mlp"
        states = states + (routed(settings, weights, normed, mlp) if sparse else expert(normed, weights, mlp))
    return linear(rms_norm(states, weights["model.norm.weight"], eps), weights["lm_head.weight"])


def make(folder: Path, **changes: Any) -> tuple[Path, dict[str, Any], dict[str, Tensor]]:
    """A checkpoint, its settings and its weights."""
    settings = {**SETTINGS, **changes}
    weights = random_weights(shapes(settings))
    return write(folder, settings, weights, SPECIAL, shards=3), settings, weights


def expected(settings: dict[str, Any], weights: Weights) -> Tensor:
    """The reference's logits of the standard rows."""
    batch = rows(256)
    return reference(settings, weights, batch["noised"], sees_all(batch["lengths"], 12))


def same(found: Tensor, wanted: Tensor) -> bool:
    """Whether logits [2, 12, C] agree on the tokens of both rows."""
    lengths = rows(256)["lengths"]
    sides = [torch.cat([side[row, :length] for row, length in enumerate(lengths)]) for side in (found, wanted)]
    return torch.allclose(*sides, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "changes",
    [{}, {"moe_router_enable_expert_bias": False}, {"attention_bias": True}],
    ids=["with expert bias", "as published", "with biases"],
)
def test_logits_equal_the_description(changes: dict[str, Any], tmp_path: Path) -> None:
    folder, settings, weights = make(tmp_path / "moe", **changes)
    model = load(folder)
    assert (model.form, model.mask_token_id, model.tokenizer.end_of_turn_token_id) == ("bidirectional", 258, 257)
    assert same(logits(model, **rows(256)), expected(settings, weights))


def test_the_expert_bias_counts(tmp_path: Path) -> None:
    folder, settings, weights = make(tmp_path / "moe")
    without = {name: tensor * (0 if name.endswith("expert_bias") else 1) for name, tensor in weights.items()}
    assert not same(logits(load(folder), **rows(256)), expected(settings, without))


@pytest.mark.parametrize("bias", [True, False])
def test_saved_as_it_was_published(bias: bool, tmp_path: Path) -> None:
    folder, settings, weights = make(tmp_path / "moe", moe_router_enable_expert_bias=bias)
    model = load(folder)
    model.save(str(tmp_path / "saved"))
    saved = saved_weights(tmp_path / "saved")
    assert saved.keys() == weights.keys()
    assert all(torch.equal(saved[name], weights[name]) for name in weights)
    assert json.loads((tmp_path / "saved" / "config.json").read_text()) == settings
    assert torch.equal(logits(load(tmp_path / "saved"), **rows(256)), logits(model, **rows(256)))


@pytest.mark.parametrize("marker", ["model_type", "architectures", "auto_map"])
def test_told_from_the_dense_models_by_each_marker(marker: str) -> None:
    markers = ("model_type", "architectures", "auto_map")
    family = recognise({name: value for name, value in SETTINGS.items() if name == marker or name not in markers})
    assert family is not None
    assert family.name == "llada_moe"
    dense = recognise({"model_type": "llada", "architectures": ["LLaDAModelLM"], "d_model": 32})
    assert dense is not None
    assert dense.name == "llada"
    for own in ("lladamoe", "llada_moe"):
        found = recognise({"model_type": own})
        assert found is not None
        assert found.name == "llada_moe"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model.layers.2.mlp.expert_bias": None}, "missing.*layers.2.mlp.expert_bias"),
        ({"model.layers.2.mlp.experts.4.up_proj.weight": None}, "missing.*layers.2.mlp.experts.4.up_proj"),
        ({"model.layers.0.mlp.experts.6.up_proj.weight": torch.ones(24, 32)}, "no place.*layers.0.mlp.experts.6"),
        ({"model.layers.1.shared_expert.up_proj.weight": torch.ones(8, 32)}, "no place.*1.shared_expert"),
        ({"model.layers.0.mlp.gate.weight": torch.ones(5, 32)}, r"layers.0.mlp.gate.weight.*\[5, 32\]"),
    ],
    ids=["missing bias", "missing expert", "one expert more", "left over", "wrong shape"],
)
def test_wrong_weights_are_named(change: dict[str, Tensor | None], says: str, tmp_path: Path) -> None:
    _, settings, weights = make(tmp_path / "whole")
    changed = {name: tensor for name, tensor in {**weights, **change}.items() if tensor is not None}
    folder = write(tmp_path / "wrong", settings, changed, SPECIAL)
    with pytest.raises(CheckpointError, match=says):
        load(folder)


def test_misnumbered_experts_are_named(tmp_path: Path) -> None:
    _, settings, weights = make(tmp_path / "whole")
    renamed = {name.replace("0.mlp.experts.3.", "0.mlp.experts.9."): tensor for name, tensor in weights.items()}
    folder = write(tmp_path / "wrong", settings, renamed, SPECIAL)
    with pytest.raises(CheckpointError, match=r"3 weights are missing, first 'model.layers.0.mlp.experts.3"):
        load(folder)


def test_a_bias_that_the_settings_deny_is_left_over(tmp_path: Path) -> None:
    _, settings, weights = make(tmp_path / "whole")
    folder = write(tmp_path / "wrong", {**settings, "moe_router_enable_expert_bias": False}, weights, SPECIAL)
    with pytest.raises(CheckpointError, match=r"no place.*expert_bias"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("qk_layernorm", False),
        ("clip_qkv", 8.0),
        ("shared_expert_intermediate_size", 64),
        ("rope_scaling", {"type": "linear", "factor": 2.0}),
        ("partial_rotary_factor", 0.5),
    ],
)
def test_what_qwen3_moe_cannot_express_is_refused(name: str, value: object) -> None:
    settings = {**SETTINGS, name: value}
    family = recognise(settings)
    assert family is not None
    with pytest.raises(CheckpointError, match=rf"config.json: {name} is .* LLaDA-MoE"):
        family.native_config(settings)


def test_layers_without_an_entry_are_named() -> None:
    settings = {**SETTINGS, "moe_layer_freq": [1]}
    family = recognise(settings)
    assert family is not None
    with pytest.raises(CheckpointError, match="moe_layer_freq has 1 entries for 3 layers"):
        family.native_config(settings)
