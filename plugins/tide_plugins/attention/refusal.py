"""The check that every bundled backend makes before it computes: nothing may be silently wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions

if TYPE_CHECKING:
    from torch import Tensor


def check(
    backend: AttentionBackend, query: Tensor, key: Tensor, layout: AttentionLayout, options: AttentionOptions
) -> None:
    """Raise ``UnavailableError`` for what the backend does not serve, ``ValueError`` for tensors unlike the layout."""
    wanted = options.features()
    if layout.kind not in backend.layouts or not wanted <= backend.features:
        from . import BUNDLED

        backend.require(layout.kind, wanted, others=BUNDLED)
    shape = (query.shape[2], key.shape[2])
    if shape != (layout.query_length, layout.key_length):
        raise ValueError(
            f"attention backend '{backend.name}': layout '{layout.kind}' describes {layout.query_length} queries and "
            f"{layout.key_length} keys, but the model passed {shape[0]} and {shape[1]}"
        )
    if query.shape[1] % key.shape[1]:
        raise ValueError(
            f"attention backend '{backend.name}': {key.shape[1]} key heads do not divide {query.shape[1]} query heads"
        )
