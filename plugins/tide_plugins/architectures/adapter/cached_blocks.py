"""Whether an attention backend honours ``block`` of the ``Cached`` layout, which a backend of an older contract may not know.

Shapes: 2 rows, 2 query heads, 1 key head, 4 new tokens behind 4 cached slots, head size 64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tide_plugins.attention.eager import Eager
from tide_specs import AttentionBackend, AttentionOptions, Cached, UnavailableError

_TOLERANCE = 0.05
"""Far above rounding in 16 bits, far below what a block seen too early changes."""


@torch.no_grad()
def serves(backend: AttentionBackend, device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether blocks of 2 behind caches of 2 and 4 tokens come out as the plain formula has them."""
    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, n, p, 64, generator=random) for n, p in ((2, 4), (1, 8), (1, 8)))
    # Keys far apart and the last block's values large: a block seen too early cannot go unnoticed.
    value[:, :, -2:] += 8
    layout = Cached(length=4, cached=4, cached_lengths=torch.tensor([2, 4], device=device), block=2)
    options = AttentionOptions(scale=0.125)

    def attended(by: AttentionBackend) -> Tensor:
        q, k, v = (each.to(device, dtype) for each in (query, key, value))
        return by.attend(q, k, v, layout, options).float()

    try:
        return bool(torch.isclose(attended(backend), attended(Eager()), rtol=_TOLERANCE, atol=_TOLERANCE).all())
    except (UnavailableError, NotImplementedError, TypeError, ValueError, RuntimeError):
        return False
