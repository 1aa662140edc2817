"""Plain attention: the textbook formula with a dense mask. The oracle of the other backends, and the one with it all.

Shapes: B rows, Hq query heads, Hk key heads, Q query positions, K key positions, D head width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions

from .refusal import check

if TYPE_CHECKING:
    from torch import Tensor


class Eager(AttentionBackend):
    """softmax(scale QK' + mask) V, written out with a dense mask and a softmax in float32.

    Serves every layout and feature on every device; memory grows with Q x K.
    """

    name: Literal["eager"] = "eager"
    features: ClassVar[frozenset[str]] = frozenset({"softcap", "window", "sinks", "dropout", "bias"})

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """See ``AttentionBackend.attend``."""
        import torch

        from .masks import dense

        check(self, query, key, layout, options)
        groups = query.shape[1] // key.shape[1]
        key = key.to(query.dtype).repeat_interleave(groups, dim=1)
        value = value.to(query.dtype).repeat_interleave(groups, dim=1)
        scores = torch.matmul(query, key.transpose(2, 3)) * options.scale
        if options.softcap is not None:
            scores = options.softcap * torch.tanh(scores / options.softcap)
        if options.bias is not None:
            scores = scores + options.bias
        scores = scores.masked_fill(~dense(layout, query.device, options.window), -torch.inf)
        weights = _softmax(scores, options.sinks).to(query.dtype)
        if options.dropout > 0.0:
            weights = torch.nn.functional.dropout(weights, options.dropout)
        return torch.matmul(weights, value).to(query.dtype)


def _softmax(scores: Tensor, sinks: Tensor | None) -> Tensor:
    """Softmax of [B, Hq, Q, K] in at least float32; a sink [Hq] takes part and is dropped."""
    import torch

    precise = torch.promote_types(scores.dtype, torch.float32)
    if sinks is None:
        return scores.softmax(-1, dtype=precise)
    extra = sinks.to(scores.dtype)[None, :, None, None].expand(*scores.shape[:3], 1)
    return torch.cat([scores, extra], dim=-1).softmax(-1, dtype=precise)[..., :-1]
