"""Observed tokens before masked ones, inside each block (WeDLM's topological reordering).

Shapes: V views, B rows, L tokens, H hidden size. An order is a permutation per row: place j of the input holds token
``order[..., j]`` of the text.
"""

from __future__ import annotations

import torch
from torch import Tensor


def segments(length: int, block: int, lengths: Tensor, documents: Tensor | None) -> Tensor:
    """Return the number [B, L] of the stretch in which each token may move: its block, cut at documents and at padding."""
    index = torch.arange(length, device=lengths.device)[None]
    first = (index % block == 0) | (index == lengths[:, None])
    if documents is not None:
        first[:, 1:] |= documents[:, 1:] != documents[:, :-1]
    return first.cumsum(dim=1)


def observed_first(masked: Tensor, segment: Tensor | None = None) -> Tensor:
    """Return the order [..., L] that puts the tokens not ``masked`` [..., L] before the others, in each segment [..., L].

    Tokens of one kind keep their order. Without ``segment`` the whole row is one.
    """
    key = masked.to(torch.int64)
    return torch.argsort(key if segment is None else 2 * segment + key, dim=-1, stable=True)


def put_back(states: Tensor, order: Tensor) -> Tensor:
    """Return the states [..., L, H] that were computed in ``order`` [..., L], in the order of the text."""
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    back = torch.empty_like(order).scatter_(-1, order, places)
    return states.gather(-2, back[..., None].expand_as(states))
