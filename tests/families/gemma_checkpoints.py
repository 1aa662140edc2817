"""A tiny DiffusionGemma as the hub has it, with random numbers everywhere, and its forward pass written from the definition.

``Reference`` takes the dictionary of weights under its published names and works row by row in float64: no cache, no batch,
no padding. The library rounds its norms, its router and its rotations to float32, so that equal means equal to about 1e-5.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import gelu

from tide_plugins.architectures.diffusion_gemma import DiffusionGemma
from tide_plugins.attention.eager import Eager
from tide_specs import Denoiser, Role, Runtime

TOKENIZER = str(Path(__file__).parents[1] / "testing_kit" / "data" / "tokenizer")
CANVAS, WINDOW = 4, 6
TEXT: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "global_head_dim": 16,
    "num_global_key_value_heads": 1,
    "sliding_window": WINDOW,
    "num_experts": 5,
    "top_k_experts": 2,
    "moe_intermediate_size": 12,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    "final_logit_softcapping": 3.0,
}


def component(**options: Any) -> DiffusionGemma:
    """A model made from sizes alone."""
    config = {"text_config": TEXT, "canvas_length": CANVAS}
    return DiffusionGemma(**{"config": config, "tokenizer_from": TOKENIZER, **options})


def runtime(**options: Any) -> Runtime:
    """Float64 and the eager backend."""
    return Runtime(**{"device": torch.device("cpu"), "dtype": torch.float64, "attention": Eager(), **options})


def load(folder: Path | str, role: Role = "teacher", **options: Any) -> Denoiser:
    """Load a directory."""
    return DiffusionGemma(model=str(folder), **options).load(role, runtime())


def randomise(model: Any, seed: int) -> None:
    """Random numbers in every parameter and saved buffer: scales and norms near 1, all others far from 0."""
    generator = torch.Generator().manual_seed(seed)
    saved = {**dict(model.named_parameters()), **{n: b for n, b in model.named_buffers() if n.endswith("layer_scalar")}}
    with torch.no_grad():
        for name, values in saved.items():
            drawn = torch.randn(values.shape, generator=generator, dtype=torch.float64)
            near_one = "norm" in name or "scale" in name or "scalar" in name
            values.copy_(1 + 0.2 * drawn if near_one else 2 * drawn * values.shape[-1] ** -0.5)


def write(folder: Path, seed: int = 0) -> dict[str, Tensor]:
    """Write a directory with the library's own ``save_pretrained``; return the weights that it holds."""
    made: Any = component().load("teacher", runtime())
    randomise(made.module, seed)
    made.module.save_pretrained(folder)
    made.tokenizer.save(str(folder))
    return load_file(folder / "model.safetensors")


def ids(rows: int, length: int, seed: int = 0) -> Tensor:
    """Random ids [B, L] of the tokenizer."""
    size = component().tokenizer("student").vocabulary_size
    return torch.randint(size, (rows, length), generator=torch.Generator().manual_seed(seed))


class Reference:
    """Encoder and decoder as defined; ``weights`` under published names."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights
        self.eps = 1e-6

    def logits(self, noised: Tensor, clean: Tensor, canvas: int = CANVAS, recalled: Tensor | None = None) -> Tensor:
        """One row: noised and clean ids [L] -> logits [L, C]; each canvas is read behind its own clean prefix."""
        parts = []
        for start in range(0, len(clean), canvas):
            inside = slice(start, min(start + canvas, len(clean)))
            soft = None if recalled is None else recalled[inside]
            parts.append(self.canvas(noised[inside], self.encode(clean[:start]), soft))
        return torch.cat(parts)

    def encode(self, clean: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Clean ids [n] -> keys and values [n, heads, width] of every layer."""
        hidden, positions, found = self.embed(clean), torch.arange(len(clean)), []
        distance = positions[:, None] - positions[None]
        for number, kind in enumerate(TEXT["layer_types"]):
            seen = distance >= 0
            if kind == "sliding_attention":
                seen &= distance < WINDOW
            found.append(self.keys_values(number, self.before(number, hidden), positions))
            hidden = self.layer(number, hidden, positions, found[-1], seen)
            hidden = hidden * self.weights[f"model.encoder.language_model.layers.{number}.layer_scalar"]
        return found

    def canvas(self, noised: Tensor, prefix: list[tuple[Tensor, Tensor]], recalled: Tensor | None) -> Tensor:
        """Noised ids [n] behind a prefix, and what was predicted before [n, C] -> logits [n, C]."""
        length = len(prefix[0][0])
        positions = length + torch.arange(len(noised))
        embedded = self.embed(noised)
        soft = torch.zeros_like(embedded)
        if recalled is not None:
            soft = recalled.softmax(-1) @ self.embedding() * math.sqrt(embedded.shape[1])
        hidden = self.norm(embedded + self.gated(soft, "model.decoder.self_conditioning", "pre_norm"), None)
        for number, kind in enumerate(TEXT["layer_types"]):
            keys, values = prefix[number]
            if kind == "sliding_attention":
                keys, values = keys[max(0, length - WINDOW + 1) :], values[max(0, length - WINDOW + 1) :]
            own = self.keys_values(number, self.before(number, hidden), positions)
            both = torch.cat([keys, own[0]]), torch.cat([values, own[1]])
            hidden = self.layer(number, hidden, positions, both, torch.tensor(True))
            hidden = hidden * self.weights[f"model.decoder.layers.{number}.layer_scalar"]
        raw = self.norm(hidden, "model.decoder.norm") @ self.embedding().T
        cap = TEXT["final_logit_softcapping"]
        return cap * torch.tanh(raw / cap)

    def embedding(self) -> Tensor:
        return self.weights["model.decoder.embed_tokens.weight"]

    def embed(self, tokens: Tensor) -> Tensor:
        return self.embedding()[tokens] * math.sqrt(TEXT["hidden_size"])

    def norm(self, x: Tensor, name: str | None) -> Tensor:
        scaled = x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return scaled if name is None else scaled * self.weights[f"{name}.weight"]

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T

    def gated(self, x: Tensor, name: str, norm: str | None = None) -> Tensor:
        x = x if norm is None else self.norm(x, f"{name}.{norm}")
        gate = gelu(self.linear(x, f"{name}.gate_proj"), approximate="tanh")
        return self.linear(gate * self.linear(x, f"{name}.up_proj"), f"{name}.down_proj")

    def before(self, number: int, hidden: Tensor) -> Tensor:
        return self.norm(hidden, f"model.decoder.layers.{number}.input_layernorm")

    def rotate(self, x: Tensor, positions: Tensor, kind: str) -> Tensor:
        """x [n, heads, width]; a full layer rotates the first quarter of its frequencies only."""
        half = x.shape[-1] // 2
        pair = torch.arange(half, dtype=torch.float64)
        if kind == "sliding_attention":
            frequency = 10_000.0 ** (-pair / half)
        else:
            frequency = torch.where(pair < half // 4, 1_000_000.0 ** (-pair / half), 0.0)
        angle = (positions[:, None] * frequency)[:, None]
        first, second = x[..., :half], x[..., half:]
        return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)

    def keys_values(self, number: int, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        name, kind = f"model.decoder.layers.{number}.self_attn", TEXT["layer_types"][number]
        width = TEXT["head_dim"] if kind == "sliding_attention" else TEXT["global_head_dim"]
        raw = self.linear(x, f"{name}.k_proj").unflatten(-1, (-1, width))
        values = raw
        if kind == "sliding_attention":
            values = self.linear(x, f"{name}.v_proj").unflatten(-1, (-1, width))
        return self.rotate(self.norm(raw, f"{name}.k_norm"), positions, kind), self.norm(values, None)

    def attention(self, number: int, x: Tensor, positions: Tensor, both: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        name, kind = f"model.decoder.layers.{number}.self_attn", TEXT["layer_types"][number]
        keys, values = (side.repeat_interleave(TEXT["num_attention_heads"] // side.shape[1], 1) for side in both)
        queries = self.linear(x, f"{name}.q_proj").unflatten(-1, (TEXT["num_attention_heads"], -1))
        queries = self.rotate(self.norm(queries, f"{name}.q_norm"), positions, kind)
        scores = torch.einsum("qhd,khd->hqk", queries, keys).masked_fill(~seen, -torch.inf)
        return self.linear(torch.einsum("hqk,khd->qhd", scores.softmax(-1), values).flatten(1), f"{name}.o_proj")

    def experts(self, number: int, x: Tensor) -> Tensor:
        name = f"model.decoder.layers.{number}"
        scale = self.weights[f"{name}.router.scale"] * TEXT["hidden_size"] ** -0.5
        odds = self.linear(self.norm(x, None) * scale, f"{name}.router.proj").softmax(-1)
        given, out = self.norm(x, f"{name}.pre_feedforward_layernorm_2"), torch.zeros_like(x)
        for token in range(len(x)):
            best = odds[token].topk(TEXT["top_k_experts"]).indices
            for expert in best.tolist():
                weight = odds[token, expert] / odds[token, best].sum()
                weight = weight * self.weights[f"{name}.router.per_expert_scale"][expert]
                gate, up = (self.weights[f"{name}.experts.gate_up_proj"][expert] @ given[token]).chunk(2)
                down = self.weights[f"{name}.experts.down_proj"][expert]
                out[token] += weight * (down @ (gelu(gate, approximate="tanh") * up))
        return out

    def layer(
        self, number: int, hidden: Tensor, positions: Tensor, both: tuple[Tensor, Tensor], seen: Tensor
    ) -> Tensor:
        name = f"model.decoder.layers.{number}"
        seen_by = self.attention(number, self.before(number, hidden), positions, both, seen)
        hidden = hidden + self.norm(seen_by, f"{name}.post_attention_layernorm")
        dense = self.gated(self.norm(hidden, f"{name}.pre_feedforward_layernorm"), f"{name}.mlp")
        dense = self.norm(dense, f"{name}.post_feedforward_layernorm_1")
        sparse = self.norm(self.experts(number, hidden), f"{name}.post_feedforward_layernorm_2")
        return hidden + self.norm(dense + sparse, f"{name}.post_feedforward_layernorm")
