"""Losses on hidden states: evaluated beside the sliced head, on means over the tokens of each chunk.

Shapes: N masked student positions, M teacher positions, H hidden size of a side, A active chunks, K loss terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tide_core.blame import blame
from tide_core.method import Term
from tide_core.micro_batch import MicroBatch
from tide_core.objective import Objective
from tide_core.slice_view import chunk_facts
from tide_core.sliced_head import require_one_each
from tide_core.teacher_answers import TeacherAnswers
from tide_specs import FeatureContext, FeatureLoss, Head


def feature_terms(
    studied: Tensor,
    head: Head,
    work: MicroBatch,
    answers: Sequence[TeacherAnswers],
    objective: Objective,
    projections: Mapping[str, nn.Module] | nn.ModuleDict,
) -> Tensor | None:
    """Student states [N, H] -> the K scaled terms, with gradient, zero but for feature losses; ``None`` without any."""
    found: dict[int, Tensor] = {}
    for number, term in enumerate(objective.terms):
        if isinstance(term.loss, FeatureLoss) and work.taught:
            values = _values(term.loss, term, studied, head, work, answers, objective, projections[str(number)])
            found[number] = values * objective.scales[number]
    if not found:
        return None
    zero = studied.new_zeros((), dtype=torch.float32)
    return torch.stack([found.get(number, zero) for number in range(len(objective.terms))])


def _values(
    loss: FeatureLoss,
    term: Term,
    studied: Tensor,
    head: Head,
    work: MicroBatch,
    answers: Sequence[TeacherAnswers],
    objective: Objective,
    projection: nn.Module,
) -> Tensor:
    """The sum of one feature loss over its chunks, before scaling."""
    assert term.lesson is not None
    taught, answer, lesson = work.taught[term.lesson], answers[term.lesson], objective.lessons[term.lesson]
    assert answer.hidden is not None and answer.head is not None and answer.likelihoods is not None
    chunks = taught.chunks
    at = FeatureContext(
        **chunk_facts(chunks, slice(None), lesson.interpolation_chunks, objective.progress),
        targets=work.student.target[chunks.first],
        teacher_targets=taught.rows.target[chunks.teacher_first],
        teacher_log_likelihood=answer.likelihoods,
        sequence=chunks.sequence,
        student_head=Head(head.weight.detach(), _detached(head.bias), head.scale, head.softcap),
        teacher_head=answer.head,
    )
    student = mean_by_chunk(studied, taught.chunk, chunks.student_tokens)
    teacher = mean_by_chunk(answer.hidden, taught.rows.chunk, chunks.teacher_tokens)
    with blame(loss, "while it was evaluated", objective.describe):
        values = loss.per_chunk(student, teacher, projection, at)
    require_one_each(values, len(chunks.t), loss, objective.describe)
    return values.sum() if lesson.factor is None else (values * lesson.factor).sum()


def mean_by_chunk(states: Tensor, chunk: Tensor, tokens: Tensor) -> Tensor:
    """States [n, H] and the active chunk of each [n] (-1: none), tokens of each chunk [A] -> float32 means [A, H]."""
    count = len(tokens)
    sums = states.new_zeros(count + 1, states.shape[1], dtype=torch.float32)
    sums = sums.index_add(0, chunk % (count + 1), states.float())[:count]
    return sums / tokens.clamp(min=1)[:, None]


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()
