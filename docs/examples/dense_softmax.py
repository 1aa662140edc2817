"""An attention backend in six lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class DenseSoftmax(AttentionBackend):
    """Softmax over a dense mask: serves every layout, no extra feature, and needs memory for Q x K numbers."""

    name: Literal["dense_softmax"] = "dense_softmax"

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """Query [B, Hq, Q, D], key and value [B, Hk, K, D] -> [B, Hq, Q, D]."""
        self.require(layout.kind, options.features())
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        products = options.scale * query.float() @ key.float().transpose(2, 3)
        hidden = ~layout.dense(device=query.device)
        return (products.masked_fill(hidden, -float("inf")).softmax(-1) @ value.float()).to(query.dtype)


@hookimpl
def tide_attention_backends() -> list[type[DenseSoftmax]]:
    """Contribute the backend."""
    return [DenseSoftmax]
