"""An attention backend: how a symbolic layout becomes a computation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt
from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, hookimpl

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Tiled(AttentionBackend):
    """Attends for a few queries at a time, so that no [Q, K] matrix of scores exists at once."""

    name: Literal["example_tiled"] = "example_tiled"
    features: ClassVar[frozenset[str]] = frozenset({"window"})
    tile: PositiveInt = Field(default=64, description="queries of one tile")

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """Query [B, Hq, Q, D], key and value [B, Hk, K, D] -> [B, Hq, Q, D]."""
        import torch

        mask = layout.dense(device=query.device, window=options.window)
        tiles = [
            torch.nn.functional.scaled_dot_product_attention(
                part, key, value, seen, scale=options.scale, enable_gqa=query.shape[1] != key.shape[1]
            )
            for part, seen in zip(query.split(self.tile, 2), mask.split(self.tile, 2), strict=True)
        ]
        return torch.cat(tiles, 2)

    def available(self, device: torch.device, dtype: torch.dtype) -> str | None:
        """Works wherever torch does."""
        return None


@hookimpl
def tide_attention_backends() -> list[type[AttentionBackend]]:
    """Offer the backend."""
    return [Tiled]
