"""How many forward passes a run's training takes."""

from __future__ import annotations

from tide_core.plan import teacher_forwards
from tide_core.run_schema import RunConfig


def forwards(config: RunConfig) -> tuple[int, int]:
    """Return the passes of teacher and student: of one process, over micro-batches, evaluation not counted."""
    batches = config.training.steps * config.training.accumulate
    passes = sum(
        teacher_forwards(view)
        for view in config.lessons()
        if view.teacher is not None
        and view.teacher.cache_path is None
        and any(loss.compares != "student" for loss in view.losses)
    )
    return batches * passes, batches
