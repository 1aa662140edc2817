"""Block masks and score rules for flex_attention.

Shapes: B rows, Hq query heads, Hk key heads, Q query positions, K key positions, D head width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, create_block_mask, flex_attention

from tide_specs import AttentionLayout, AttentionOptions

from .masks import narrowed, remember

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
ScoreRule = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def attend_flex(
    query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
) -> Tensor:
    """Query [B, Hq, Q, D], key and value [B, Hk, K, D] -> [B, Hq, Q, D] in the query's dtype."""
    kernel: Any = _compiled() if query.device.type == "cuda" else flex_attention
    settings: dict[str, Any] = {
        "score_mod": score_rule(options),
        "block_mask": block_mask(layout, options.window, query.device),
        "scale": options.scale,
        "enable_gqa": query.shape[1] != key.shape[1],
    }
    key, value = key.to(query.dtype), value.to(query.dtype)
    if options.sinks is None:
        return kernel(query, key, value, **settings).to(query.dtype)
    out, aux = kernel(query, key, value, **settings, return_aux=AuxRequest(lse=True))
    # A sink that takes part in the softmax scales the result by sum(e^s) / (sum(e^s) + e^sink).
    share = torch.sigmoid(aux.lse - options.sinks.to(aux.lse.dtype)[None, :, None])
    return (out * share[..., None]).to(query.dtype)


@lru_cache(maxsize=1)
def _compiled() -> Any:
    return torch.compile(flex_attention)  # pyright: ignore[reportUnknownMemberType]


def block_mask(layout: AttentionLayout, window: int | None, device: torch.device) -> BlockMask:
    """Return the block mask of a layout; kept for good where rows are alike, else as long as the layout lives."""
    window = narrowed(layout, window)
    if not layout.tensors():
        return _structural(layout, window, device)
    return remember(layout, ("flex", window, device), lambda: _create(layout, window, device))


@lru_cache(maxsize=64)
def _structural(layout: AttentionLayout, window: int | None, device: torch.device) -> BlockMask:
    return _create(layout, window, device)


def _create(layout: AttentionLayout, window: int | None, device: torch.device) -> BlockMask:
    rows = next((tensor.shape[0] for tensor in layout.tensors().values()), None)
    rule = mask_rule(layout, window, device)
    return create_block_mask(rule, rows, None, layout.query_length, layout.key_length, device=str(device))


def mask_rule(layout: AttentionLayout, window: int | None, device: torch.device) -> Rule:
    """Return the layout's visibility as a ``mask_mod`` over scalar indices.

    The rule holds a copy of the layout: a cache keyed by the layout must not keep its own key alive.
    """
    moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in layout.tensors().items()}
    own, offset = replace(layout, **moved), layout.query_offset

    def rule(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return own.visible(row, query + offset, key, window=window)

    return rule


def score_rule(options: AttentionOptions) -> ScoreRule | None:
    """Return softcap and bias as a ``score_mod``, or ``None`` where neither is asked for."""
    cap, bias = options.softcap, options.bias
    if cap is None and bias is None:
        return None
    many_rows, many_heads = (False, False) if bias is None else (bias.shape[0] > 1, bias.shape[1] > 1)

    def rule(score: Tensor, row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        if cap is not None:
            score = cap * torch.tanh(score / cap)
        if bias is not None:
            score = score + bias[row if many_rows else 0, head if many_heads else 0, query, key]
        return score

    return rule
