"""Corruptions: how clean tokens become noised ones, on both sides together."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Corruption, hookimpl

from .absorbing import Absorbing
from .uniform import Uniform


@hookimpl
def tide_corruptions() -> Sequence[type[Corruption]]:
    """Contribute the bundled corruptions."""
    return [Absorbing, Uniform]
