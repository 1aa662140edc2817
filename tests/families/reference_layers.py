"""Layers in float64 for references of published families, written from their papers.

Norms of the root mean square kind, rotary angles and routing weights are taken in float32, as the published code takes them.
Shapes: B rows, L tokens, A heads, D head size, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def affine(x: Tensor, w: Weights, at: str) -> Tensor:
    """Matrix ``at.weight`` [out, in] and, where there is one, ``at.bias``."""
    out = x @ w[f"{at}.weight"].T
    return out + w[f"{at}.bias"] if f"{at}.bias" in w else out


def layer_norm(x: Tensor, w: Weights, at: str, eps: float) -> Tensor:
    """Layer norm with a gain, and with a bias where there is one."""
    centred = x - x.mean(-1, keepdim=True)
    out = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * w[f"{at}.weight"]
    return out + w[f"{at}.bias"] if f"{at}.bias" in w else out


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root mean square norm."""
    narrow = x.float()
    return weight * (narrow * torch.rsqrt(narrow.square().mean(-1, keepdim=True) + eps)).double()


def rotate(x: Tensor, base: float) -> Tensor:
    """Rotary positions 0..L-1 on [B, L, A, D]: dimension d turns with d + D / 2."""
    size = x.shape[-1]
    frequencies = 1.0 / base ** (torch.arange(0, size, 2).float() / size)
    angles = torch.arange(x.shape[1]).float()[:, None, None] * frequencies
    cosines, sines = angles.cos().double(), angles.sin().double()
    left, right = x[..., : size // 2], x[..., size // 2 :]
    return torch.cat([left * cosines - right * sines, right * cosines + left * sines], -1)


def attend(query: Tensor, key: Tensor, value: Tensor, seen: Tensor, scale: float | None = None) -> Tensor:
    """Query [B, L, A, D], fewer heads of key and value, visible keys [B, L, L] -> [B, L, A D], head by head."""
    share = query.shape[2] // key.shape[2]
    scale = query.shape[3] ** -0.5 if scale is None else scale
    out = []
    for head in range(query.shape[2]):
        scores = query[:, :, head] @ key[:, :, head // share].transpose(1, 2) * scale
        out.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value[:, :, head // share])
    return torch.cat(out, -1)


def gated(x: Tensor, w: Weights, names: tuple[str, str, str], activation: Callable[[Tensor], Tensor]) -> Tensor:
    """down(activation(gate(x)) * up(x)), the names in the order gate, up, down."""
    gate, up, down = names
    return affine(activation(affine(x, w, gate)) * affine(x, w, up), w, down)


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x)."""
    return x * torch.sigmoid(x)


def gelu(x: Tensor) -> Tensor:
    """x Phi(x)."""
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def gelu_tanh(x: Tensor) -> Tensor:
    """The approximation by a hyperbolic tangent."""
    return x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


def sees(lengths: Tensor, length: int, allowed: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Visible keys [B, L, L] where ``allowed(query, key)``, padding aside, which sees and is seen by itself alone."""
    index = torch.arange(length)
    pattern = allowed(index[:, None], index[None])
    return (pattern & (index < lengths[:, None])[:, None]) | torch.eye(length, dtype=torch.bool)


def everything(query: Tensor, key: Tensor) -> Tensor:
    """Full attention."""
    return (query >= 0) & (key >= 0)


def before(query: Tensor, key: Tensor) -> Tensor:
    """Causal attention."""
    return key <= query
