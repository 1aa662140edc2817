"""Means over words and lines.

Shapes: c chunks, in text order.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mean_over_spans(values: Tensor, span: Tensor) -> Tensor:
    """Values [c] and the rising number [c] of each chunk's span -> the mean [c] over the span of each chunk.

    In float32 or better; nothing waits for the device.
    """
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    changed = torch.zeros_like(span)
    changed[1:] = span[1:] != span[:-1]
    place = changed.cumsum(0)
    sums = torch.zeros_like(values).index_add(0, place, values)
    chunks = torch.zeros_like(values).index_add(0, place, torch.ones_like(values))
    return (sums / chunks.clamp(min=1))[place]
