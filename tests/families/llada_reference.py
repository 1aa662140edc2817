"""What the published descriptions of the LLaDA models have in common, in float64: the oracle of their tests.

Norms, rotary angles and routing scores are taken in float32, as the published code takes them.
Shapes: B rows, L tokens, P positions of the input, H heads, D head size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from checkpoints import write_checkpoint
from safetensors.torch import load_file
from tiny_dream import tokenizer_files
from torch import Tensor
from torch.nn.functional import linear, silu

Weights = Mapping[str, Tensor]


def rms_norm(states: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm over the last axis."""
    single = states.float()
    scaled = single * torch.rsqrt(single.pow(2).mean(-1, keepdim=True) + eps)
    return weight * scaled.to(states.dtype)


def rotate(states: Tensor, positions: Tensor, theta: float, width: int) -> Tensor:
    """Turn the first ``width`` of D features of [B, P, H, D] by the positions [P]; feature i pairs with i + width / 2."""
    half = width // 2
    speed = 1.0 / (theta ** (torch.arange(0, width, 2).float() / width))
    angles = (positions.float()[:, None] * speed)[None, :, None]
    cos, sin = angles.cos().to(states.dtype), angles.sin().to(states.dtype)
    first, second, rest = states[..., :half], states[..., half:width], states[..., width:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)


def attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
    """Query [B, P, H, D], key and value [B, P, Hk, D], visible [B, P, P] -> [B, P, H * D]."""
    groups = query.shape[2] // key.shape[2]
    key, value = key.repeat_interleave(groups, dim=2), value.repeat_interleave(groups, dim=2)
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    chances = scores.masked_fill(~visible[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return torch.einsum("bhqk,bkhd->bqhd", chances, value).flatten(2)


def gated(states: Tensor, weights: Weights, gate: str, up: str, down: str) -> Tensor:
    """SwiGLU: down(silu(gate x) * up x), of weights by these names."""
    inner = silu(linear(states, weights[gate])) * linear(states, weights[up])
    return linear(inner, weights[down])


def expert(states: Tensor, weights: Weights, prefix: str) -> Tensor:
    """SwiGLU under the usual three names."""
    return gated(states, weights, *(f"{prefix}.{part}_proj.weight" for part in ("gate", "up", "down")))


def sees_all(lengths: Tensor, length: int) -> Tensor:
    """Every token of a row sees every other: [B, L, L]."""
    inside = torch.arange(length) < lengths[:, None]
    return inside[:, None, :].expand(-1, length, -1)


def sees_blocks(lengths: Tensor, length: int, block: int) -> Tensor:
    """A token sees its own and earlier blocks: [B, L, L]."""
    number = torch.arange(length) // block
    return (number[None] <= number[:, None])[None] & sees_all(lengths, length)


def sees_streams(lengths: Tensor, length: int, block: int) -> Tensor:
    """[x_t, x_0]: noisy tokens see their noisy block and the clean blocks before it, clean ones see clean blocks."""
    number = torch.arange(length) // block
    same, before = number[None] == number[:, None], number[None] < number[:, None]
    noisy = torch.cat([same, before], dim=1)
    clean = torch.cat([torch.zeros_like(same), same | before], dim=1)
    inside = torch.arange(length) < lengths[:, None]
    return torch.cat([noisy, clean])[None] & torch.cat([inside, inside], dim=1)[:, None]


def shapes_of(groups: Mapping[str, Mapping[str, tuple[int, ...]]], layers: int) -> dict[str, tuple[int, ...]]:
    """Shapes by name: the groups ``once`` and ``layer``, the latter with ``{n}`` in each name."""
    named = dict(groups["once"])
    for layer in range(layers):
        named |= {name.format(n=layer): shape for name, shape in groups["layer"].items()}
    return named


def rows(vocabulary: int, length: int = 12) -> dict[str, Any]:
    """Noised and clean ids [2, L] of ordinary tokens, and lengths of which one is shorter."""
    generator = torch.Generator().manual_seed(3)
    noised, clean = torch.randint(0, vocabulary, (2, 2, length), generator=generator)
    return {"noised": noised, "clean": clean, "lengths": torch.tensor([length, length - 5])}


def write(
    folder: Path, settings: Mapping[str, Any], weights: Weights, special: tuple[str, ...], shards: int = 2
) -> Path:
    """Write a checkpoint whose tokenizer has ids 0 to 256 for bytes and the end of text, then the special tokens."""
    write_checkpoint(folder, settings, weights, tokenizer=None, shards=shards)
    tokenizer_files(folder, added=special)
    return folder


def saved_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of the safetensors files in a directory, by name."""
    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found
