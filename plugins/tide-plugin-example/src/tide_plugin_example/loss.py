"""A loss: textbook mathematics on the positions of one slice. Masks, weights, slices and means are TIDE's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tide_specs import ChunkContext, ChunkLoss, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class ByteGap(ChunkLoss):
    """Squared gap between what student and teacher think of a span of text, in nats per byte: ((s - t) / bytes)^2."""

    name: Literal["example_gap"] = "example_gap"
    is_divergence: ClassVar[bool] = True

    def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
        return ((student - teacher.detach()) / at.bytes.clamp(min=1)) ** 2


@hookimpl
def tide_losses() -> list[type[ChunkLoss]]:
    return [ByteGap]
