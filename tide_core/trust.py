"""How much each teacher of a run is listened to, chunk by chunk.

Shapes: A active chunks of one teacher, U texts of the batch that are masked as one, T teachers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tide_core.blame import blame
from tide_core.method import Method
from tide_core.micro_batch import MicroBatch
from tide_core.teacher_answers import TeacherAnswers
from tide_specs import PluginError, WeightingContext


@torch.no_grad()
def trust(method: Method, work: MicroBatch, answers: Sequence[TeacherAnswers], progress: float) -> list[Tensor | None]:
    """Return the factor [A] of every chunk of each teacher; ``None`` where a teacher has no weighting."""
    table = _likelihoods(work, answers) if method.reads_likelihoods else None
    factors: list[Tensor | None] = []
    for number, (lesson, taught) in enumerate(zip(method.lessons, work.taught, strict=False)):
        if lesson.weighting is None:
            factors.append(None)
            continue
        chunks = taught.chunks
        count = len(chunks.t)
        likelihoods = chunks.t.new_zeros(count, len(work.taught)) if table is None else table[chunks.unit]
        at = WeightingContext(t=chunks.t, progress=progress, teacher=number, likelihoods=likelihoods)
        with blame(lesson.weighting, "while it weighed a teacher", method.describe):
            factor = lesson.weighting.factor(at)
        if tuple(factor.shape) != (count,):
            raise PluginError(
                f"{method.describe(lesson.weighting)} returned a tensor of shape {list(factor.shape)}; one factor per "
                f"chunk was expected: [{count}]"
            )
        factors.append(factor)
    return factors


def _likelihoods(work: MicroBatch, answers: Sequence[TeacherAnswers]) -> Tensor:
    """[U, T] log-likelihood of each text under each teacher; -inf where a teacher has no chunk in it."""
    columns: list[Tensor] = []
    for taught, answer in zip(work.taught, answers, strict=True):
        assert answer.likelihoods is not None
        sums = answer.likelihoods.new_zeros(work.units).index_add(0, taught.chunks.unit, answer.likelihoods)
        spoke = torch.zeros_like(sums).index_fill_(0, taught.chunks.unit, 1.0)
        columns.append(torch.where(spoke > 0, sums, -torch.inf))
    return torch.stack(columns, 1)
