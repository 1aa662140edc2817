"""Checkpoints of MDLM and BD3LM made from nothing, and a float64 forward written from their papers and configurations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from checkpoints import random_weights, write_checkpoint
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]
HIDDEN, LAYERS, HEADS, CONDITIONING, VOCABULARY = 32, 2, 4, 12, 258
MASK = VOCABULARY - 1
MDLM: dict[str, Any] = {
    "model_type": "mdlm",
    "architectures": ["MDLM"],
    "auto_map": {"AutoConfig": "configuration_mdlm.MDLMConfig", "AutoModelForMaskedLM": "modeling_mdlm.MDLM"},
    "vocab_size": VOCABULARY,
    "model_length": 32,
    "hidden_dim": HIDDEN,
    "cond_dim": CONDITIONING,
    "n_blocks": LAYERS,
    "n_heads": HEADS,
    "dropout": 0.1,
    "time_conditioning": False,
    "torch_dtype": "float32",
}
BD3LM: dict[str, Any] = {
    **MDLM,
    "model_type": "bd3lm",
    "architectures": ["BD3LM"],
    "auto_map": {"AutoConfig": "configuration_bd3lm.BD3LMConfig", "AutoModelForMaskedLM": "modeling_bd3lm.BD3LM"},
    "block_size": 4,
    "cross_attn": True,
    "adaln": True,
    "causal": False,
    "attn_backend": "flex",
    "var_min": True,
    "sampling_eps_min": 0.001,
    "sampling_eps_max": 0.999,
    "return_dict": False,
}


def weights_of(settings: Mapping[str, Any], seed: int = 0) -> Weights:
    """Random values under every published key, buffers included."""
    modulated, vocabulary = settings.get("adaln", True), settings["vocab_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "backbone.vocab_embed.embedding": (vocabulary, HIDDEN),
        "backbone.rotary_emb.inv_freq": (HIDDEN // HEADS // 2,),
        "backbone.output_layer.norm_final.weight": (HIDDEN,),
        "backbone.output_layer.linear.weight": (vocabulary, HIDDEN),
        "backbone.output_layer.linear.bias": (vocabulary,),
    }
    if modulated:
        shapes |= {
            "backbone.sigma_map.mlp.0.weight": (CONDITIONING, 256),
            "backbone.sigma_map.mlp.0.bias": (CONDITIONING,),
            "backbone.sigma_map.mlp.2.weight": (CONDITIONING, CONDITIONING),
            "backbone.sigma_map.mlp.2.bias": (CONDITIONING,),
            "backbone.output_layer.adaLN_modulation.weight": (2 * HIDDEN, CONDITIONING),
            "backbone.output_layer.adaLN_modulation.bias": (2 * HIDDEN,),
        }
    for layer in range(LAYERS):
        name = f"backbone.blocks.{layer}."
        shapes |= {
            name + "norm1.weight": (HIDDEN,),
            name + "attn_qkv.weight": (3 * HIDDEN, HIDDEN),
            name + "attn_out.weight": (HIDDEN, HIDDEN),
            name + "norm2.weight": (HIDDEN,),
            name + "mlp.0.weight": (4 * HIDDEN, HIDDEN),
            name + "mlp.0.bias": (4 * HIDDEN,),
            name + "mlp.2.weight": (HIDDEN, 4 * HIDDEN),
            name + "mlp.2.bias": (HIDDEN,),
        }
        if modulated:
            shapes |= {
                name + "adaLN_modulation.weight": (6 * HIDDEN, CONDITIONING),
                name + "adaLN_modulation.bias": (6 * HIDDEN,),
            }
    weights = random_weights(shapes, seed)
    for name in [name for name in weights if name.endswith("bias")]:
        weights[name] = 5 * weights[name]
    if settings["model_type"] == "bd3lm" and settings.get("var_min", True):
        weights |= {"sampling_eps_min": torch.tensor(0.3), "sampling_eps_max": torch.tensor(0.8)}
    return weights


def write(folder: Path, settings: Mapping[str, Any], weights: Weights, *, shards: int = 2) -> Path:
    """Write config.json and shards, without a tokenizer, as the hub has them."""
    return write_checkpoint(folder, settings, weights, tokenizer=None, shards=shards)


def seen_by_all(lengths: Tensor, length: int) -> Tensor:
    """Rows of these lengths -> which key each query sees, [B, L, L]; padding sees and is seen by itself alone."""
    index = torch.arange(length)
    return (index[None, None, :] < lengths[:, None, None]) | torch.eye(length, dtype=torch.bool)


def seen_in_blocks(lengths: Tensor, length: int, block: int) -> Tensor:
    """The three masks of BD3LM over [x_t, x_0], [B, 2 L, 2 L]: block diagonal, offset block causal, block causal."""
    of = torch.arange(length) // block
    diagonal, earlier, upto = of[:, None] == of[None], of[:, None] > of[None], of[:, None] >= of[None]
    top = torch.cat([diagonal, earlier], 1)
    bottom = torch.cat([torch.zeros_like(diagonal), upto], 1)
    seen = torch.cat([top, bottom])
    valid = (torch.arange(length)[None] < lengths[:, None]).repeat(1, 2)
    return (seen[None] & valid[:, None, :]) | torch.eye(2 * length, dtype=torch.bool)


def reference(w: Weights, ids: Tensor, positions: Tensor, seen: Tensor) -> Tensor:
    """Ids [B, P], positions [P], visible keys [B, P, P] -> logits [B, P, C], in float64."""
    w = {name.removeprefix("backbone."): value.double() for name, value in w.items()}
    condition = None
    if "sigma_map.mlp.0.weight" in w:
        # cos(0 f) = 1 and sin(0 f) = 0 for each of 128 frequencies
        level = torch.cat([torch.ones(128), torch.zeros(128)]).double()
        inner = silu(w["sigma_map.mlp.0.weight"] @ level + w["sigma_map.mlp.0.bias"])
        condition = silu(w["sigma_map.mlp.2.weight"] @ inner + w["sigma_map.mlp.2.bias"])
    x = w["vocab_embed.embedding"][ids]
    for layer in range(LAYERS):
        x = block_of(w, f"blocks.{layer}.", x, condition, positions, seen)
    x = norm(x, w["output_layer.norm_final.weight"])
    if condition is not None:
        shift, scale = modulations(w, "output_layer.", condition, 2)
        x = x * (1 + scale) + shift
    return x @ w["output_layer.linear.weight"].T + w["output_layer.linear.bias"]


def block_of(w: Weights, at: str, x: Tensor, condition: Tensor | None, positions: Tensor, seen: Tensor) -> Tensor:
    shift = scale = low = high = torch.zeros(HIDDEN).double()
    gate = last = torch.ones(HIDDEN).double()
    if condition is not None:
        shift, scale, gate, low, high, last = modulations(w, at, condition, 6)
    inner = norm(x, w[at + "norm1.weight"]) * (1 + scale) + shift
    query, key, value = (inner @ part.T for part in w[at + "attn_qkv.weight"].split(HIDDEN))
    heads = []
    for head in range(HEADS):
        at_head = slice(head * HIDDEN // HEADS, (head + 1) * HIDDEN // HEADS)
        q, k = (turned(part[..., at_head], positions, w["rotary_emb.inv_freq"]) for part in (query, key))
        scores = (q @ k.transpose(1, 2)) / (HIDDEN // HEADS) ** 0.5
        heads.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value[..., at_head])
    x = x + gate * (torch.cat(heads, -1) @ w[at + "attn_out.weight"].T)
    inner = norm(x, w[at + "norm2.weight"]) * (1 + high) + low
    inner = functional.gelu(inner @ w[at + "mlp.0.weight"].T + w[at + "mlp.0.bias"], approximate="tanh")
    return x + last * (inner @ w[at + "mlp.2.weight"].T + w[at + "mlp.2.bias"])


def modulations(w: Weights, at: str, condition: Tensor, count: int) -> tuple[Tensor, ...]:
    return (w[at + "adaLN_modulation.weight"] @ condition + w[at + "adaLN_modulation.bias"]).chunk(count)


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def norm(x: Tensor, weight: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def turned(x: Tensor, positions: Tensor, frequencies: Tensor) -> Tensor:
    """Rotate dimension d with dimension d + D / 2, as one complex number."""
    half = x.shape[-1] // 2
    angles = positions.double()[:, None] * frequencies
    rotated = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([rotated.real, rotated.imag], -1)
