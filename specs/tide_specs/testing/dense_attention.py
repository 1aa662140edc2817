"""The attention that every backend is compared with: the dense mask, a softmax, nothing else. Used by the toy models too.

Shapes: B rows, Hq query heads, Hk key heads, Q queries, K keys, D head size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tide_specs.attention import AttentionBackend, AttentionOptions
from tide_specs.layout import AttentionLayout

if TYPE_CHECKING:
    from torch import Tensor


def dense_attention(
    query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
) -> Tensor:
    """Attend by the textbook, in the dtype given (float64 for an oracle)."""
    import torch

    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * options.scale
    if options.softcap is not None:
        scores = options.softcap * (scores / options.softcap).tanh()
    if options.bias is not None:
        scores = scores + options.bias.to(scores.dtype)
    visible = layout.dense(device=query.device, window=options.window)
    scores = scores.masked_fill(~visible, float("-inf"))
    if options.sinks is not None:
        sink = options.sinks.to(scores.dtype)[None, :, None, None].expand(*scores.shape[:3], 1)
        scores = torch.cat([scores, sink], 3)
    chances = scores.softmax(3)[..., : key.shape[2]]
    if options.dropout:
        chances = torch.nn.functional.dropout(chances, options.dropout)
    return chances @ value


class DenseAttention(AttentionBackend):
    """The kit's own backend: every layout and feature through the dense mask, for tiny models."""

    name: Literal["dense"] = "dense"
    features: ClassVar[frozenset[str]] = frozenset({"softcap", "window", "sinks", "dropout", "bias"})

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """Attend in float32, whatever the dtype given."""
        wide = [side.float() if side.dtype.itemsize < 4 else side for side in (query, key, value)]
        return dense_attention(wide[0], wide[1], wide[2], layout, options).to(query.dtype)
