"""The diffusion transformer of MDLM (arXiv 2406.07524) and BD3LM (arXiv 2503.09573), under its published key names.

Shapes: B rows, P positions of the input, H hidden size, A heads, D head size, E conditioning size, C vocabulary.

The published models are not told the noise level: they are conditioned on sigma = 0 throughout. What adaptive layer norm
(Peebles and Xie, arXiv 2212.09748) computes from it is therefore one vector for all rows and positions.
"""

# torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions

from .published import Shape

FREQUENCIES = 256
"""Width of the sinusoidal embedding of the noise level."""
ROTARY_BASE = 10000.0
Angles = tuple[Tensor, Tensor]
"""Cosines and sines [B or 1, 1, P, D / 2]."""


class KeyValueCache(Protocol):
    """What a decoding session hands down: new keys and values of a layer go in, all of them come out."""

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Keys and values [B, A, n, D] of layer ``layer_idx`` -> those of the cache and the new ones."""
        ...


class Rotary(nn.Module):
    """Rotary position embedding; keeps its frequencies in float32 whatever the network is cast to."""

    inv_freq: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # On the CPU even while the rest of the network is built without memory: it is computed, not only read.
        exponents = torch.arange(0, width, 2, dtype=torch.float32, device="cpu") / width
        self.register_buffer("inv_freq", 1.0 / ROTARY_BASE**exponents)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        kept = self.inv_freq
        super()._apply(fn, recurse)
        self.inv_freq = kept.to(self.inv_freq.device)
        return self

    def forward(self, positions: Tensor, dtype: torch.dtype) -> Angles:
        """Positions [B or 1, P] -> cosines and sines, in at least float32."""
        wide = torch.promote_types(dtype, torch.float32)
        angles = (positions[..., None].to(wide) * self.inv_freq.to(wide))[:, None]
        return angles.cos(), angles.sin()


def rotate(states: Tensor, angles: Angles) -> Tensor:
    """Turn the pairs (d, d + D / 2) of queries or keys [B, A, P, D] by their angles."""
    cosines, sines = angles
    first, second = states.chunk(2, dim=-1)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)


class Embedding(nn.Module):
    """One row per token."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(vocabulary, hidden))
        nn.init.kaiming_uniform_(self.embedding, a=math.sqrt(5))

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [B, P] -> [B, P, H]."""
        return functional.embedding(ids, self.embedding)


class NoiseLevel(nn.Module):
    """Embeds the noise level, which is always zero."""

    def __init__(self, conditioning: int) -> None:
        super().__init__()
        widened = nn.Linear(FREQUENCIES, conditioning), nn.Linear(conditioning, conditioning)
        self.mlp = nn.Sequential(widened[0], nn.SiLU(), widened[1])

    def forward(self) -> Tensor:
        """Return the conditioning vector [E]."""
        like = next(self.mlp.parameters())
        angles = torch.zeros(FREQUENCIES // 2, dtype=like.dtype, device=like.device)
        return functional.silu(self.mlp(torch.cat([angles.cos(), angles.sin()])))


def modulation(conditioning: int, hidden: int, vectors: int) -> nn.Linear:
    """Return the map from the conditioning vector to shifts, scales and gates; zero at first, so that blocks do nothing."""
    linear = nn.Linear(conditioning, vectors * hidden)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class Block(nn.Module):
    """Attention and a feed-forward network, each normalised, shifted, scaled and gated."""

    adaLN_modulation: nn.Linear | None

    def __init__(self, shape: Shape, attention: AttentionBackend, number: int) -> None:
        super().__init__()
        hidden = shape.hidden
        self.heads, self.attention, self.number = shape.heads, attention, number
        self.norm1, self.norm2 = nn.LayerNorm(hidden, bias=False), nn.LayerNorm(hidden, bias=False)
        self.attn_qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.attn_out = nn.Linear(hidden, hidden, bias=False)
        widened = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.mlp = nn.Sequential(widened[0], nn.GELU(approximate="tanh"), widened[1])
        self.dropout = nn.Dropout(shape.dropout)
        self.adaLN_modulation = modulation(shape.conditioning, hidden, 6) if shape.modulated else None

    def forward(
        self, x: Tensor, angles: Angles, condition: Tensor | None, layout: AttentionLayout, cache: KeyValueCache | None
    ) -> Tensor:
        """X [B, P, H], condition [E] -> [B, P, H]."""
        if self.adaLN_modulation is None or condition is None:
            x = x + self.dropout(self._attend(self.norm1(x), angles, layout, cache))
            return x + self.dropout(self.mlp(self.norm2(x)))
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.adaLN_modulation(condition).chunk(6)
        attended = self._attend(self.norm1(x) * (1 + scale) + shift, angles, layout, cache)
        x = x + gate * self.dropout(attended)
        return x + mlp_gate * self.dropout(self.mlp(self.norm2(x) * (1 + mlp_scale) + mlp_shift))

    def _attend(self, x: Tensor, angles: Angles, layout: AttentionLayout, cache: KeyValueCache | None) -> Tensor:
        query, key, value = self.attn_qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = (rotate(states, angles).to(value.dtype) for states in (query, key))
        if cache is not None:
            key, value = cache.update(key, value, self.number)
        options = AttentionOptions(scale=query.shape[-1] ** -0.5)
        attended = self.attention.attend(query, key, value, layout, options)
        return self.attn_out(attended.transpose(1, 2).flatten(2))


class OutputLayer(nn.Module):
    """The last norm, and the projection to the vocabulary, which is applied elsewhere: to the positions that need it."""

    adaLN_modulation: nn.Linear | None

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(shape.hidden, bias=False)
        self.linear = nn.Linear(shape.hidden, shape.vocabulary)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.adaLN_modulation = modulation(shape.conditioning, shape.hidden, 2) if shape.modulated else None

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """X [B, P, H] -> what ``linear`` projects, [B, P, H]."""
        if self.adaLN_modulation is None or condition is None:
            return self.norm_final(x)
        shift, scale = self.adaLN_modulation(condition).chunk(2)
        return self.norm_final(x) * (1 + scale) + shift


class Backbone(nn.Module):
    """Everything that has weights."""

    sigma_map: NoiseLevel | None

    def __init__(self, shape: Shape, attention: AttentionBackend) -> None:
        super().__init__()
        self.vocab_embed = Embedding(shape.vocabulary, shape.hidden)
        self.sigma_map = NoiseLevel(shape.conditioning) if shape.modulated else None
        self.rotary_emb = Rotary(shape.hidden // shape.heads)
        self.blocks = nn.ModuleList(Block(shape, attention, number) for number in range(shape.layers))
        self.output_layer = OutputLayer(shape)


class DiffusionTransformer(nn.Module):
    """A ``Backbone``, run as ``ModuleDenoiser`` runs a module. ``recompute``: trade gradients' memory for time."""

    def __init__(self, shape: Shape, attention: AttentionBackend, *, recompute: bool = False) -> None:
        super().__init__()
        self.shape, self.attention, self.recompute = shape, attention, recompute
        self.backbone = Backbone(shape, attention)
        if shape.noise_range is not None:
            for name, rate in zip(("sampling_eps_min", "sampling_eps_max"), shape.noise_range, strict=True):
                self.register_buffer(name, torch.tensor(rate, device="cpu"))

    def forward(
        self, ids: Tensor, positions: Tensor, layout: AttentionLayout, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Ids [B, P], positions [B or 1, P] -> hidden states [B, P, H] as the output projection wants them."""
        body = self.backbone
        x: Tensor = body.vocab_embed(ids)
        condition: Tensor | None = None if body.sigma_map is None else body.sigma_map()
        angles: Angles = body.rotary_emb(positions, x.dtype)
        recompute = self.recompute and self.training and cache is None and torch.is_grad_enabled()
        for block in body.blocks:
            given = (x, angles, condition, layout, cache)
            x = cast(Tensor, checkpoint(block, *given, use_reentrant=False) if recompute else block(*given))
        return body.output_layer(x, condition)
