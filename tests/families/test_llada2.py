"""LLaDA2.0: grouped sigmoid experts, partial rotary positions, blocks; held against a forward pass from its description."""

from __future__ import annotations

import json
import weakref
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
    sees_blocks,
    sees_streams,
    shapes_of,
    write,
)
from torch import Tensor
from torch.nn.functional import linear
from transformers import core_model_loading

from tide_plugins.architectures.families import recognise
from tide_plugins.architectures.huggingface import HuggingFace
from tide_plugins.attention.eager import Eager
from tide_specs import CheckpointError, Example, Message, Runtime
from tide_specs.testing.checks.architecture_session import check_session

SPECIAL = ("<|role_end|>", "<|mask|>")
SETTINGS: dict[str, Any] = {
    "architectures": ["LLaDA2MoeModelLM"],
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_llada2_moe.LLaDA2MoeConfig",
        "AutoModelForCausalLM": "modeling_llada2_moe.LLaDA2MoeModelLM",
    },
    "embedding_dropout": 0.0,
    "eos_token_id": 256,
    "first_k_dense_replace": 1,
    "head_dim": 12,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 40,
    "max_position_embeddings": 128,
    "max_window_layers": 28,
    "model_type": "llada2_moe",
    "moe_intermediate_size": 24,
    "moe_router_enable_expert_bias": True,
    "n_group": 3,
    "norm_head": False,
    "norm_topk_prob": True,
    "num_attention_heads": 4,
    "num_experts": 12,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "num_shared_experts": 2,
    "output_dropout": 0.0,
    "output_router_logits": False,
    "pad_token_id": 256,
    "partial_rotary_factor": 0.5,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 600000,
    "routed_scaling_factor": 2.5,
    "score_function": "sigmoid",
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "topk_group": 2,
    "use_bias": False,
    "use_cache": False,
    "use_qk_norm": True,
    "use_qkv_bias": False,
    "use_sliding_window": False,
    "vocab_size": 272,
}


def mlp_shapes(settings: dict[str, Any], prefix: str, inner: int) -> dict[str, tuple[int, ...]]:
    """The three matrices of a SwiGLU."""
    width = settings["hidden_size"]
    two = {f"{prefix}.{part}_proj.weight": (inner, width) for part in ("gate", "up")}
    return {**two, f"{prefix}.down_proj.weight": (width, inner)}


def layer_shapes(settings: dict[str, Any], number: int) -> dict[str, tuple[int, ...]]:
    """One layer of the published class, with its buffer."""
    layer, width, size = f"model.layers.{number}", settings["hidden_size"], settings["head_dim"]
    heads = settings["num_attention_heads"]
    fused = heads + 2 * settings["num_key_value_heads"]
    named: dict[str, tuple[int, ...]] = {
        f"{layer}.attention.query_key_value.weight": (fused * size, width),
        f"{layer}.attention.dense.weight": (width, heads * size),
        f"{layer}.input_layernorm.weight": (width,),
        f"{layer}.post_attention_layernorm.weight": (width,),
    }
    if settings["use_qkv_bias"]:
        named[f"{layer}.attention.query_key_value.bias"] = (fused * size,)
    if settings["use_qk_norm"]:
        named |= {f"{layer}.attention.{side}_layernorm.weight": (size,) for side in ("query", "key")}
    if settings["num_experts"] is None or number < settings["first_k_dense_replace"]:
        return named | mlp_shapes(settings, f"{layer}.mlp", settings["intermediate_size"])
    inner = settings["moe_intermediate_size"]
    named[f"{layer}.mlp.gate.weight"] = (settings["num_experts"], width)
    named[f"{layer}.mlp.gate.expert_bias"] = (settings["num_experts"],)
    named |= mlp_shapes(settings, f"{layer}.mlp.shared_experts", inner * settings["num_shared_experts"])
    for n in range(settings["num_experts"]):
        named |= mlp_shapes(settings, f"{layer}.mlp.experts.{n}", inner)
    return named


def make(folder: Path, **changes: Any) -> tuple[Path, dict[str, Any], dict[str, Tensor]]:
    """A checkpoint, its settings and its weights; the routing bias is stored in float32, as published."""
    settings = {**SETTINGS, **changes}
    width, ids = settings["hidden_size"], settings["vocab_size"]
    once = {"model.word_embeddings.weight": (ids, width), "model.norm.weight": (width,), "lm_head.weight": (ids, width)}
    for number in range(settings["num_hidden_layers"]):
        once |= layer_shapes(settings, number)
    weights = random_weights(shapes_of({"once": once, "layer": {}}, 0))
    weights |= {name: tensor.float() for name, tensor in weights.items() if name.endswith("expert_bias")}
    return write(folder, settings, weights, SPECIAL, shards=3), settings, weights


def chosen(settings: dict[str, Any], biased: list[float]) -> list[int]:
    """The experts of one token: the best of the groups whose two best biased scores sum to most."""
    size = settings["num_experts"] // settings["n_group"]
    groups = [range(start, start + size) for start in range(0, settings["num_experts"], size)]
    groups.sort(key=lambda group: -sum(sorted((biased[n] for n in group), reverse=True)[:2]))
    allowed = [n for group in groups[: settings["topk_group"]] for n in group]
    return sorted(allowed, key=lambda n: -biased[n])[: settings["num_experts_per_tok"]]


def routed(settings: dict[str, Any], weights: Weights, states: Tensor, prefix: str) -> Tensor:
    """Tokens one by one: biased scores choose; the scores without bias, normalised and scaled, are the weights."""
    flat = states.flatten(0, -2)
    scores = linear(flat.float(), weights[f"{prefix}.gate.weight"].float()).sigmoid()
    biased = (scores + weights[f"{prefix}.gate.expert_bias"]).tolist()
    result = expert(flat, weights, f"{prefix}.shared_experts")
    for token, row in enumerate(scores):
        picked = chosen(settings, biased[token])
        shares = row[picked]
        if len(picked) > 1:
            shares = shares / (shares.sum() + 1e-20)
        for n, share in zip(picked, (shares * settings["routed_scaling_factor"]).tolist(), strict=True):
            result[token] += share * expert(flat[token], weights, f"{prefix}.experts.{n}")
    return result.view_as(states)


def attention(
    settings: dict[str, Any], weights: Weights, states: Tensor, layer: str, at: Tensor, sees: Tensor
) -> Tensor:
    """Fused projections, norms per head, rotation of the first part of each head."""
    size, heads, shared = settings["head_dim"], settings["num_attention_heads"], settings["num_key_value_heads"]
    name = f"{layer}.attention"
    bias = weights.get(f"{name}.query_key_value.bias")
    fused = linear(states, weights[f"{name}.query_key_value.weight"], bias).unflatten(-1, (-1, size))
    sides = dict(zip(("query", "key", "value"), fused.split([heads, shared, shared], dim=-2), strict=True))
    for side in ("query", "key"):
        if settings["use_qk_norm"]:
            sides[side] = rms_norm(sides[side], weights[f"{name}.{side}_layernorm.weight"], settings["rms_norm_eps"])
        turned = int(size * settings["partial_rotary_factor"])
        sides[side] = rotate(sides[side], at, settings["rope_theta"], turned)
    return linear(attend(**sides, visible=sees), weights[f"{name}.dense.weight"])


def reference(settings: dict[str, Any], weights: Weights, ids: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
    """Ids [B, P] at positions [P] -> logits [B, P, C]."""
    eps = settings["rms_norm_eps"]
    states = weights["model.word_embeddings.weight"][ids]
    for number in range(settings["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        normed = rms_norm(states, weights[f"{layer}.input_layernorm.weight"], eps)
        states = states + attention(settings, weights, normed, layer, positions, visible)
        normed = rms_norm(states, weights[f"{layer}.post_attention_layernorm.weight"], eps)
        mlp = f"{layer}.mlp"
        sparse = f"{mlp}.gate.weight" in weights
        states = states + (routed(settings, weights, normed, mlp) if sparse else expert(normed, weights, mlp))
    return linear(rms_norm(states, weights["model.norm.weight"], eps), weights["lm_head.weight"])


def compare(found: Tensor, wanted: Tensor, lengths: Tensor) -> None:
    """Hold logits [B, L, C] against each other on the tokens of each row."""
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row, :length], wanted[row, :length], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_qkv_bias": True, "use_qk_norm": False},
        {"num_experts_per_tok": 1, "head_dim": 8},
        {"num_experts": None},
    ],
    ids=["published", "with biases", "one expert", "dense"],
)
def test_full_attention_equals_the_description(changes: dict[str, Any], tmp_path: Path) -> None:
    folder, settings, weights = make(tmp_path / "llada2", **changes)
    batch = rows(256)
    model = load(folder, variant="published")
    assert (model.form, model.mask_token_id, model.tokenizer.end_of_turn_token_id) == ("bidirectional", 258, 257)
    wanted = reference(settings, weights, batch["noised"], torch.arange(12), sees_all(batch["lengths"], 12))
    compare(logits(model, **batch), wanted, batch["lengths"])


def test_the_native_variant_reads_blocks_of_32(tmp_path: Path) -> None:
    folder, settings, weights = make(tmp_path / "llada2")
    batch = rows(256, 70)
    model = load(folder)
    assert (model.form, model.block_size) == ("block_causal", 32)
    wanted = reference(settings, weights, batch["noised"], torch.arange(70), sees_blocks(batch["lengths"], 70, 32))
    compare(logits(model, **batch), wanted, batch["lengths"])
    everything = sees_all(batch["lengths"], 70)
    other = reference(settings, weights, batch["noised"], torch.arange(70), everything)
    assert not torch.allclose(other, wanted, rtol=1e-3)


def test_training_input_equals_the_description(tmp_path: Path) -> None:
    folder, settings, weights = make(tmp_path / "llada2")
    batch = rows(256)
    model = load(folder, form="block_diffusion", block_size=4)
    ids = torch.cat([batch["noised"], batch["clean"]], dim=1)
    positions = torch.arange(12).repeat(2)
    wanted = reference(settings, weights, ids, positions, sees_streams(batch["lengths"], 12, 4))[:, :12]
    compare(logits(model, **batch), wanted, batch["lengths"])


def test_the_bias_chooses_and_does_not_weigh(tmp_path: Path) -> None:
    folder, settings, weights = make(tmp_path / "llada2")
    batch = rows(256)
    sees = sees_all(batch["lengths"], 12)
    found = logits(load(folder, variant="published"), **batch)[0]
    for change in (lambda bias: bias * 0, lambda bias: -bias):
        other = {name: change(tensor) if "expert_bias" in name else tensor for name, tensor in weights.items()}
        assert not torch.allclose(found, reference(settings, other, batch["noised"], torch.arange(12), sees)[0])
    # The same for every expert: no choice changes, hence nothing does.
    shifted = {name: tensor + 4 if "expert_bias" in name else tensor for name, tensor in weights.items()}
    again = logits(load(write(tmp_path / "b", settings, shifted, SPECIAL), variant="published"), **batch)[0]
    torch.testing.assert_close(again, found, rtol=1e-6, atol=1e-7)


def test_decoding_with_a_cache_equals_the_full_forward(tmp_path: Path) -> None:
    folder, _, _ = make(tmp_path / "llada2")
    check_session(HuggingFace(model=str(folder)))


@pytest.mark.parametrize("changes", [{}, {"use_qkv_bias": True}], ids=["published", "with biases"])
def test_saved_as_it_was_published(changes: dict[str, Any], tmp_path: Path) -> None:
    folder, settings, weights = make(tmp_path / "llada2", **changes)
    model = load(folder)
    model.save(str(tmp_path / "saved"))
    saved = saved_weights(tmp_path / "saved")
    assert saved.keys() == weights.keys()
    assert all(torch.equal(saved[name], weights[name]) for name in weights)
    assert {saved[name].dtype for name in saved if "expert_bias" in name} == {torch.float32}
    assert json.loads((tmp_path / "saved" / "config.json").read_text()) == settings
    again = load(tmp_path / "saved")
    assert (again.form, again.block_size) == ("block_causal", 32)
    assert torch.equal(logits(again, **rows(256, 40)), logits(model, **rows(256, 40)))


def test_a_tokenizer_without_a_template_gets_the_markers(tmp_path: Path) -> None:
    folder, _, _ = make(tmp_path / "llada2")
    tokenizer: Any = HuggingFace(model=str(folder)).tokenizer("teacher")
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello")]
    example = Example(key="e", messages=[Message(role=role, content=content) for role, content in turns])
    assert tokenizer.tokenizer.decode(tokenizer.encode([example])[0].ids) == (
        "<role>SYSTEM</role>Be brief.<|role_end|><role>HUMAN</role>Hi<|role_end|><role>ASSISTANT</role>Hello<|role_end|>"
    )


def test_experts_are_merged_as_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _, weights = make(tmp_path / "llada2", num_hidden_layers=9, vocab_size=260)
    alive, peak = [0], [0]
    native = core_model_loading._materialize_copy

    def counted(*given: Any, **options: Any) -> Tensor:
        tensor = native(*given, **options)
        alive[0] += tensor.nbytes
        peak[0] = max(peak[0], alive[0])
        weakref.finalize(tensor, lambda size=tensor.nbytes: alive.__setitem__(0, alive[0] - size))
        return tensor

    monkeypatch.setattr(core_model_loading, "_materialize_copy", counted)
    runtime = Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Eager())
    HuggingFace(model=str(folder)).load("teacher", runtime)
    apart = sum(4 * tensor.numel() for name, tensor in weights.items() if ".experts." in name)
    assert 0 < peak[0] < apart / 4


@pytest.mark.parametrize("marker", ["model_type", "architectures", "auto_map"])
def test_recognised_by_one_marker(marker: str) -> None:
    markers = ("model_type", "architectures", "auto_map")
    family = recognise({name: value for name, value in SETTINGS.items() if name == marker or name not in markers})
    assert family is not None
    assert family.name == "llada2"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model.layers.1.mlp.gate.expert_bias": None}, "missing.*layers.1.mlp.gate.expert_bias"),
        ({"model.layers.1.attention.query_key_value.weight": None}, "missing.*layers.1.attention.query_key_value"),
        ({"model.layers.46.eh_proj.weight": torch.ones(4, 4)}, "no place.*layers.46.eh_proj"),
        ({"model.layers.0.mlp.gate.weight": torch.ones(12, 32)}, "no place.*layers.0.mlp.gate"),
        ({"model.layers.1.attention.dense.weight": torch.ones(32, 40)}, r"layers.1.attention.dense.*\[32, 40\]"),
    ],
    ids=["missing bias", "missing projection", "a further layer", "left over", "wrong shape"],
)
def test_wrong_weights_are_named(change: dict[str, Tensor | None], says: str, tmp_path: Path) -> None:
    _, settings, weights = make(tmp_path / "whole")
    changed = {name: tensor for name, tensor in {**weights, **change}.items() if tensor is not None}
    folder = write(tmp_path / "wrong", settings, changed, SPECIAL)
    with pytest.raises(CheckpointError, match=says):
        load(folder)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("use_bias", True, "use_bias is True.* LLaDA2.0"),
        ("rope_scaling", {"type": "yarn", "factor": 4.0}, "rope_scaling is .*LLaDA2.0"),
        ("num_shared_experts", None, "num_shared_experts is missing"),
        ("num_key_value_heads", None, "num_key_value_heads is missing"),
    ],
)
def test_what_glm4_moe_cannot_express_is_refused(name: str, value: object, says: str) -> None:
    settings = {**SETTINGS, name: value}
    family = recognise(settings)
    assert family is not None
    with pytest.raises(CheckpointError, match=f"config.json: {says}"):
        family.native_config(settings)


def test_settings_left_out_take_the_published_defaults() -> None:
    left_out = [
        "head_dim",
        "n_group",
        "topk_group",
        "routed_scaling_factor",
        "partial_rotary_factor",
        "first_k_dense_replace",
    ]
    settings = {name: value for name, value in SETTINGS.items() if name not in left_out}
    family = recognise(settings)
    assert family is not None
    made = family.native_config(settings)
    assert (made["head_dim"], made["n_group"], made["topk_group"], made["routed_scaling_factor"]) == (8, 8, 4, 2.5)
    assert (made["rope_parameters"]["partial_rotary_factor"], made["first_k_dense_replace"]) == (0.5, 0)
