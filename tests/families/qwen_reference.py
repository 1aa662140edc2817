"""What the published descriptions of the Qwen families have in common, in float64: the oracle of their tests.

Norms, rotary angles and routing scores are taken in float32, as the published code takes them. A forward pass gets an explicit
sequence: ids and positions [P], and a matrix [P, P] of what sees what; it runs one row at a time.
Shapes: P positions of the input, L tokens of the text, C vocabulary, D head size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Qwen:
    """One of Qwen's stacks: ``normed`` queries and keys (Qwen3) or ``biased`` projections (Qwen2); experts or none."""

    weights: Weights
    settings: Mapping[str, Any]
    normed: bool
    head_dim: int

    def logits(self, ids: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
        """Ids and positions [P], visible [P, P] -> [P, C]."""
        states = self.weights["model.embed_tokens.weight"][ids]
        for layer in range(self.settings["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            inner = self._norm(states, f"{name}.input_layernorm.weight")
            states = states + self._attention(inner, f"{name}.self_attn", positions, visible)
            inner = self._norm(states, f"{name}.post_attention_layernorm.weight")
            states = states + self._feed_forward(inner, f"{name}.mlp")
        head = "model.embed_tokens.weight" if self.settings["tie_word_embeddings"] else "lm_head.weight"
        return self._norm(states, "model.norm.weight") @ self.weights[head].T

    def _norm(self, states: Tensor, name: str) -> Tensor:
        single = states.float()
        single = single * torch.rsqrt(single.pow(2).mean(-1, keepdim=True) + self.settings["rms_norm_eps"])
        return self.weights[name] * single.to(states.dtype)

    def _linear(self, states: Tensor, name: str) -> Tensor:
        out = states @ self.weights[f"{name}.weight"].T
        return out + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else out

    def _heads(self, states: Tensor, name: str, norm: str, positions: Tensor) -> Tensor:
        out = self._linear(states, name).unflatten(-1, (-1, self.head_dim))
        return self._rotate(self._norm(out, norm) if self.normed else out, positions)

    def _rotate(self, states: Tensor, positions: Tensor) -> Tensor:
        half = self.head_dim // 2
        speed = 1.0 / (self.settings["rope_theta"] ** (torch.arange(0, self.head_dim, 2).float() / self.head_dim))
        angles = (positions.float()[:, None] * speed)[:, None]
        cos, sin = angles.cos().to(states.dtype), angles.sin().to(states.dtype)
        first, second = states[..., :half], states[..., half:]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def _attention(self, states: Tensor, name: str, positions: Tensor, visible: Tensor) -> Tensor:
        query = self._heads(states, f"{name}.q_proj", f"{name}.q_norm.weight", positions)
        key = self._heads(states, f"{name}.k_proj", f"{name}.k_norm.weight", positions)
        value = self._linear(states, f"{name}.v_proj").unflatten(-1, (-1, self.head_dim))
        groups = query.shape[1] // key.shape[1]
        outputs: list[Tensor] = []
        for head in range(query.shape[1]):
            scores = query[:, head] @ key[:, head // groups].T / self.head_dim**0.5
            outputs.append(scores.masked_fill(~visible, -torch.inf).softmax(-1) @ value[:, head // groups])
        return self._linear(torch.cat(outputs, dim=-1), f"{name}.o_proj")

    def _feed_forward(self, states: Tensor, name: str) -> Tensor:
        if f"{name}.gate.weight" not in self.weights:
            return self._expert(states, name)
        scores = self._linear(states, f"{name}.gate").softmax(-1, dtype=torch.float32)
        taken = scores.topk(self.settings["num_experts_per_tok"], dim=-1)
        shares = taken.values / taken.values.sum(-1, keepdim=True) if self.settings["norm_topk_prob"] else taken.values
        out = torch.zeros_like(states)
        for place, (experts, weights) in enumerate(zip(taken.indices.tolist(), shares, strict=True)):
            for expert, share in zip(experts, weights, strict=True):
                out[place] += share.to(states.dtype) * self._expert(states[place], f"{name}.experts.{expert}")
        return out

    def _expert(self, states: Tensor, name: str) -> Tensor:
        gate, up = self._linear(states, f"{name}.gate_proj"), self._linear(states, f"{name}.up_proj")
        return self._linear(gate * gate.sigmoid() * up, f"{name}.down_proj")

    def sees_all(self, ids: Tensor) -> Tensor:
        """Ids [L] -> [L, C], everything seeing everything."""
        length = len(ids)
        return self.logits(ids, torch.arange(length), torch.ones(length, length, dtype=torch.bool))

    def in_blocks(self, ids: Tensor, block: int) -> Tensor:
        """Ids [L] -> [L, C], a token seeing its own and earlier blocks."""
        number = torch.arange(len(ids)) // block
        return self.logits(ids, torch.arange(len(ids)), number[None] <= number[:, None])

    def in_streams(self, noised: Tensor, clean: Tensor, block: int) -> tuple[Tensor, Tensor]:
        """[x_t, x_0] of [L] each -> what is computed at the noisy and at the clean tokens, [L, C] each."""
        length = len(clean)
        number = torch.arange(length) // block
        same, before = number[None] == number[:, None], number[None] < number[:, None]
        noisy = torch.cat([same, before], dim=1)
        known = torch.cat([torch.zeros_like(same), same | before], dim=1)
        out = self.logits(torch.cat([noised, clean]), torch.arange(length).repeat(2), torch.cat([noisy, known]))
        return out[:length], out[length:]


def shapes(settings: Mapping[str, Any], *, normed: bool, head_dim: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights as they are published."""
    width, vocabulary = settings["hidden_size"], settings["vocab_size"]
    once: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width), "model.norm.weight": (width,)}
    if not settings["tie_word_embeddings"]:
        once["lm_head.weight"] = (vocabulary, width)
    heads = {
        "q": settings["num_attention_heads"],
        "k": settings["num_key_value_heads"],
        "v": settings["num_key_value_heads"],
    }
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
        "self_attn.o_proj.weight": (width, heads["q"] * head_dim),
        **{f"self_attn.{part}_proj.weight": (count * head_dim, width) for part, count in heads.items()},
        **({} if normed else {f"self_attn.{part}_proj.bias": (count * head_dim,) for part, count in heads.items()}),
        **({f"self_attn.{part}_norm.weight": (head_dim,) for part in "qk"} if normed else {}),
        **_feed_forward(settings, width),
    }
    layers = range(settings["num_hidden_layers"])
    return once | {f"model.layers.{n}.{name}": shape for n in layers for name, shape in layer.items()}


def _feed_forward(settings: Mapping[str, Any], width: int) -> dict[str, tuple[int, ...]]:
    if "num_experts" not in settings:
        return _gated("mlp", width, settings["intermediate_size"])
    found: dict[str, tuple[int, ...]] = {"mlp.gate.weight": (settings["num_experts"], width)}
    for expert in range(settings["num_experts"]):
        found |= _gated(f"mlp.experts.{expert}", width, settings["moe_intermediate_size"])
    return found


def _gated(name: str, width: int, inner: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.gate_proj.weight": (inner, width),
        f"{name}.up_proj.weight": (inner, width),
        f"{name}.down_proj.weight": (width, inner),
    }
