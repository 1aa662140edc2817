"""How many forward passes a run's training takes."""

from __future__ import annotations

import functools

from tide_core.plan import teacher_passes
from tide_core.run_schema import RunConfig
from tide_specs import TeacherView


def forwards(config: RunConfig) -> tuple[int, int]:
    """Return the passes of teacher and student: of one process, over micro-batches, evaluation not counted."""
    batches = config.training.steps * config.training.accumulate
    if config.teacher is None or all(loss.compares == "student" for loss in config.losses):
        return 0, batches
    return batches * _passes(config.teacher_view), batches


@functools.lru_cache(maxsize=64)
def _passes(view: TeacherView) -> int:
    return teacher_passes(view)
