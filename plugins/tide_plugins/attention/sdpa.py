"""torch's scaled_dot_product_attention over the visible tiles of a layout only.

Shapes: B rows, Hq query heads, Hk key heads, Q query positions, K key positions, D head width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions

from .refusal import check

if TYPE_CHECKING:
    from torch import Tensor


class Sdpa(AttentionBackend):
    """torch's fused attention; of a block layout, only tiles that hold something visible are computed.

    Of the [x_t, x_0] square about a quarter is visible. The default tile computes about three eighths of it at 512
    tokens, in eight calls. A tile of one block computes exactly what is visible, without any mask, in more calls.
    """

    name: Literal["sdpa"] = "sdpa"
    features: ClassVar[frozenset[str]] = frozenset({"window", "dropout", "bias"})

    tile: PositiveInt = Field(128, description="tokens of a stream whose queries share one call, in whole blocks")

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """See ``AttentionBackend.attend``."""
        from .tiled import attend

        check(self, query, key, layout, options)
        return attend(query, key, value, layout, options, self.tile)
