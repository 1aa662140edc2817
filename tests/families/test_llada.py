"""LLaDA-8B: its own key names and settings, held against a forward pass written from its description."""

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
    gated,
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
from tide_plugins.architectures.huggingface import HuggingFace
from tide_specs import CheckpointError, Example, Message

SPECIAL = ("<|eot_id|>", "<|mdm_mask|>")
SETTINGS: dict[str, Any] = {
    "activation_type": "silu",
    "alibi": False,
    "alibi_bias_max": 8.0,
    "architectures": ["LLaDAModelLM"],
    "attention_dropout": 0.0,
    "attention_layer_norm": False,
    "attention_layer_norm_with_affine": True,
    "auto_map": {"AutoConfig": "configuration_llada.LLaDAConfig", "AutoModel": "modeling_llada.LLaDAModelLM"},
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "block_type": "llama",
    "d_model": 32,
    "embedding_dropout": 0.0,
    "embedding_size": 272,
    "eos_token_id": 256,
    "flash_attention": False,
    "include_bias": False,
    "include_qkv_bias": False,
    "init_device": "meta",
    "init_fn": "mitchell",
    "init_std": 0.02,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "mask_token_id": 258,
    "max_sequence_length": 64,
    "mlp_hidden_size": 48,
    "mlp_ratio": 4,
    "model_type": "llada",
    "multi_query_attention": None,
    "n_heads": 4,
    "n_kv_heads": 4,
    "n_layers": 2,
    "pad_token_id": 256,
    "residual_dropout": 0.0,
    "rms_norm_eps": 1e-5,
    "rope": True,
    "rope_full_precision": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "use_cache": False,
    "vocab_size": 264,
    "weight_tying": False,
}


def shapes(settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every weight of the published class: the head is missing where it is tied."""
    width, inner, ids = settings["d_model"], settings["mlp_hidden_size"], settings["embedding_size"]
    narrow = width // settings["n_heads"] * settings["n_kv_heads"]
    top = "model.transformer"
    once = {f"{top}.wte.weight": (ids, width), f"{top}.ln_f.weight": (width,), f"{top}.ff_out.weight": (ids, width)}
    if settings["weight_tying"]:
        del once[f"{top}.ff_out.weight"]
    block = f"{top}.blocks.{{n}}"
    layer = {
        f"{block}.attn_norm.weight": (width,),
        f"{block}.ff_norm.weight": (width,),
        f"{block}.q_proj.weight": (width, width),
        f"{block}.k_proj.weight": (narrow, width),
        f"{block}.v_proj.weight": (narrow, width),
        f"{block}.attn_out.weight": (width, width),
        f"{block}.ff_proj.weight": (inner, width),
        f"{block}.up_proj.weight": (inner, width),
        f"{block}.ff_out.weight": (width, inner),
    }
    return shapes_of({"once": once, "layer": layer}, settings["n_layers"])


def reference(settings: dict[str, Any], weights: Weights, ids: Tensor, visible: Tensor) -> Tensor:
    """Ids [B, L] -> logits [B, L, C]."""
    width, heads, eps = settings["d_model"], settings["n_heads"], settings["rms_norm_eps"]
    top, size = "model.transformer", width // heads
    positions = torch.arange(ids.shape[1])
    states = weights[f"{top}.wte.weight"][ids]
    for layer in range(settings["n_layers"]):
        block = f"{top}.blocks.{layer}"
        normed = rms_norm(states, weights[f"{block}.attn_norm.weight"], eps)
        query, key, value = (
            linear(normed, weights[f"{block}.{part}_proj.weight"]).unflatten(-1, (-1, size)) for part in "qkv"
        )
        query, key = (rotate(side, positions, settings["rope_theta"], size) for side in (query, key))
        states = states + linear(attend(query, key, value, visible), weights[f"{block}.attn_out.weight"])
        normed = rms_norm(states, weights[f"{block}.ff_norm.weight"], eps)
        names = (f"{block}.{part}.weight" for part in ("ff_proj", "up_proj", "ff_out"))
        states = states + gated(normed, weights, *names)
    head = f"{top}.wte.weight" if settings["weight_tying"] else f"{top}.ff_out.weight"
    return linear(rms_norm(states, weights[f"{top}.ln_f.weight"], eps), weights[head])


def make(folder: Path, **changes: Any) -> tuple[Path, dict[str, Any], dict[str, Tensor]]:
    """A checkpoint, its settings and its weights."""
    settings = {**SETTINGS, **changes}
    weights = random_weights(shapes(settings))
    return write(folder, settings, weights, SPECIAL), settings, weights


def config(settings: dict[str, Any]) -> dict[str, Any]:
    """What the family makes of a config.json."""
    family = recognise(settings)
    assert family is not None
    return family.native_config(settings)


@pytest.mark.parametrize(
    "changes",
    [{}, {"weight_tying": True}, {"n_kv_heads": 2}, {"mask_token_id": None}],
    ids=["published", "tied", "grouped queries", "no mask id"],
)
def test_logits_equal_the_description(changes: dict[str, Any], tmp_path: Path) -> None:
    folder, settings, weights = make(tmp_path / "llada", **changes)
    batch = rows(256)
    model = load(folder)
    assert (model.form, model.mask_token_id, model.tokenizer.end_of_turn_token_id) == ("bidirectional", 258, 257)
    found = logits(model, **batch)
    expected = reference(settings, weights, batch["noised"], sees_all(batch["lengths"], 12))
    assert found.shape[-1] == settings["embedding_size"]
    for row, length in enumerate(batch["lengths"]):
        torch.testing.assert_close(found[row, :length], expected[row, :length], rtol=1e-9, atol=1e-10)


def test_a_tokenizer_without_a_template_gets_the_markers(tmp_path: Path) -> None:
    folder, _, _ = make(tmp_path / "llada")
    tokenizer: Any = HuggingFace(model=str(folder)).tokenizer("teacher")
    turns = [("user", "Hi"), ("assistant", " there ")]
    example = Example(key="e", messages=[Message(role=role, content=content) for role, content in turns])
    assert tokenizer.tokenizer.decode(tokenizer.encode([example])[0].ids) == (
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n there <|eot_id|>"
    )


def test_both_variants_read_the_same_way(tmp_path: Path) -> None:
    folder, _, _ = make(tmp_path / "llada")
    found = [logits(load(folder, variant=variant), **rows(256)) for variant in ("native", "published")]
    assert torch.equal(*found)


@pytest.mark.parametrize("tied", [False, True])
def test_saved_as_it_was_published(tied: bool, tmp_path: Path) -> None:
    folder, settings, weights = make(tmp_path / "llada", weight_tying=tied)
    model = load(folder)
    model.save(str(tmp_path / "saved"))
    saved = saved_weights(tmp_path / "saved")
    assert saved.keys() == weights.keys()
    assert all(torch.equal(saved[name], weights[name]) for name in weights)
    assert json.loads((tmp_path / "saved" / "config.json").read_text()) == settings
    batch = rows(256)
    assert torch.equal(logits(load(tmp_path / "saved"), **batch), logits(model, **batch))


@pytest.mark.parametrize("marker", ["model_type", "architectures", "auto_map"])
def test_recognised_by_one_marker(marker: str) -> None:
    others = {"model_type", "architectures", "auto_map"} - {marker}
    family = recognise({name: value for name, value in SETTINGS.items() if name not in others})
    assert family is not None
    assert family.name == "llada"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model.transformer.blocks.1.up_proj.weight": None}, "1 weights are missing.*blocks.1.up_proj"),
        ({"model.transformer.ff_out.weight": None}, "missing.*transformer.ff_out"),
        ({"model.transformer.blocks.0.q_norm.weight": torch.ones(8)}, "no place.*blocks.0.q_norm"),
        ({"model.transformer.blocks.1.k_proj.weight": torch.ones(16, 32)}, r"blocks.1.k_proj.*\[16, 32\]"),
    ],
    ids=["missing", "missing head", "left over", "wrong shape"],
)
def test_wrong_weights_are_named(change: dict[str, Tensor | None], says: str, tmp_path: Path) -> None:
    _, settings, weights = make(tmp_path / "whole")
    changed = {name: tensor for name, tensor in {**weights, **change}.items() if tensor is not None}
    folder = write(tmp_path / "wrong", settings, changed, SPECIAL)
    with pytest.raises(CheckpointError, match=says):
        load(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("block_type", "sequential"),
        ("block_group_size", 2),
        ("rope", False),
        ("alibi", True),
        ("layer_norm_type", "default"),
        ("layer_norm_with_affine", False),
        ("bias_for_layer_norm", True),
        ("attention_layer_norm", True),
        ("activation_type", "swiglu"),
        ("include_bias", True),
        ("include_qkv_bias", True),
        ("input_emb_norm", True),
        ("scale_logits", True),
        ("residual_dropout", 0.1),
        ("embedding_dropout", 0.1),
    ],
)
def test_what_llama_cannot_express_is_refused(name: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=rf"config.json: {name} is {value!r}.* LLaDA 8B"):
        config({**SETTINGS, name: value})


def test_settings_left_out_take_the_published_defaults() -> None:
    with pytest.raises(CheckpointError, match=r"block_type is 'sequential' \(left out"):
        config({name: value for name, value in SETTINGS.items() if name != "block_type"})
    with pytest.raises(CheckpointError, match="d_model is missing"):
        config({name: value for name, value in SETTINGS.items() if name != "d_model"})
    left_out = ("embedding_size", "mlp_hidden_size", "n_kv_heads", "weight_tying", "rope_theta")
    made = config({name: value for name, value in SETTINGS.items() if name not in left_out})
    assert (made["vocab_size"], made["intermediate_size"], made["num_key_value_heads"]) == (264, 128, 4)
    assert (made["tie_word_embeddings"], made["rope_parameters"]["rope_theta"]) == (True, 10000.0)


def test_key_heads_of_both_settings() -> None:
    assert config({**SETTINGS, "n_kv_heads": None, "multi_query_attention": True})["num_key_value_heads"] == 1
    assert config({**SETTINGS, "multi_query_attention": False})["num_key_value_heads"] == 4
    with pytest.raises(CheckpointError, match="n_kv_heads is 2, but multi_query_attention False makes it 4"):
        config({**SETTINGS, "n_kv_heads": 2, "multi_query_attention": False})


def test_a_larger_vocabulary_is_recorded() -> None:
    family = recognise(SETTINGS)
    assert family is not None
    assert family.published_config(SETTINGS, 272) == SETTINGS
    grown = family.published_config(SETTINGS, 300)
    assert (grown["embedding_size"], grown["vocab_size"]) == (300, 300)
