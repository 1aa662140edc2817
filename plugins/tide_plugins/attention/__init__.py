"""Attention backends: one computation, lowered in four ways."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import AttentionBackend, hookimpl

from .eager import Eager
from .flex import Flex
from .sdpa import Sdpa
from .xformers import Xformers

BUNDLED: tuple[type[AttentionBackend], ...] = (Eager, Sdpa, Flex, Xformers)


@hookimpl
def tide_attention_backends() -> Sequence[type[AttentionBackend]]:
    """Contribute the bundled backends."""
    return list(BUNDLED)
