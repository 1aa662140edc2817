"""Weightings: how much each teacher of a run is listened to."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import TeacherWeighting, hookimpl

from .confidence import ByConfidence
from .constant import Constant
from .progress import ByProgress


@hookimpl
def tide_teacher_weightings() -> Sequence[type[TeacherWeighting]]:
    """Contribute the bundled weightings."""
    return [Constant, ByProgress, ByConfidence]
