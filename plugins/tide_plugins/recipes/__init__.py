"""Recipes: several runs after one another."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Recipe, hookimpl

from .chain import Chain
from .rounds import Rounds


@hookimpl
def tide_recipes() -> Sequence[type[Recipe]]:
    """Contribute the bundled recipes."""
    return [Chain, Rounds]
