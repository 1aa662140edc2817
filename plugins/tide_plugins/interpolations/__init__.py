"""Interpolations: how much a target leans on the teacher (TIDE eq. 1-2)."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Interpolation, hookimpl

from .constant import Constant
from .tidal import DualAxis, TimestepOnly, TrainingOnly


@hookimpl
def tide_interpolations() -> Sequence[type[Interpolation]]:
    """Contribute the bundled interpolations."""
    return [DualAxis, TrainingOnly, TimestepOnly, Constant]
