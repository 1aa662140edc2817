"""Textbook tensors for every sort of loss.

Shapes: n positions or chunks, V vocabulary columns, H hidden size. ``student`` and ``teacher`` are logits [n, V] for the losses
on tokens and on distributions, log-likelihoods [n] for the losses on chunks, hidden states [n, H] for those on states.
"""

# torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from tide_specs.denoiser import Head
from tide_specs.loss import (
    ChunkContext,
    ChunkLoss,
    DistributionLoss,
    FeatureContext,
    FeatureLoss,
    Loss,
    SelfLoss,
    StartContext,
    TokenContext,
    TokenLoss,
)

from .chunk_contexts import feature_context, spans, start_context
from .contexts import chosen, chunk_context, log_likelihoods, logits, token_context

COUNT = 12
COLUMNS = 11
TEACHER_COLUMNS = 13
HIDDEN = (6, 8)
"""Hidden sizes of student and teacher."""


@dataclass(frozen=True)
class Inputs:
    """One set of inputs, of whichever sort the loss takes. ``module``: what a feature loss built."""

    student: Tensor
    teacher: Tensor
    at: TokenContext | ChunkContext
    module: Any = None

    def of(self, loss: Loss) -> Tensor:
        """Evaluate the loss [n]."""
        if isinstance(loss, FeatureLoss):
            return loss.per_chunk(self.student, self.teacher, self.module, cast(FeatureContext, self.at))
        if isinstance(loss, DistributionLoss):
            student, teacher = self.student.log_softmax(1), self.teacher.softmax(1)
            return loss.per_start(student, teacher, cast(StartContext, self.at))
        if isinstance(loss, ChunkLoss):
            return loss.per_chunk(self.student, self.teacher, cast(ChunkContext, self.at))
        if isinstance(loss, TokenLoss):
            return loss.per_token(self.student, self.teacher, cast(TokenContext, self.at))
        return cast(SelfLoss, loss).per_token(self.student, cast(TokenContext, self.at))

    def pick(self, index: Tensor) -> Inputs:
        """Return the inputs of some of the positions."""
        at: Any = self.at
        found: Any = chosen(at, index)
        if isinstance(found, ChunkContext):
            found = replace(found, spans={name: number[index] for name, number in found.spans.items()})
        return replace(self, student=self.student[index], teacher=self.teacher[index], at=found)

    def map(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        """Return the inputs with student and teacher changed alike."""
        return replace(self, student=change(self.student), teacher=change(self.teacher))

    def groups(self, loss: Loss) -> Tensor | None:
        """The numbers [n] of what the contract lets a loss mix: sequences, lines or words; ``None``: nothing."""
        at: Any = self.at
        if isinstance(loss, FeatureLoss):
            return at.sequence
        if isinstance(loss, ChunkLoss) and loss.resolutions:
            return at.spans["line" if "line" in loss.resolutions else "word"]
        return None


def inputs(loss: Loss, count: int = COUNT, seed: int = 0, **given: Any) -> Inputs:
    """Return random inputs for a loss."""
    if isinstance(loss, FeatureLoss):
        return feature_inputs(loss, count, seed, **given)
    if isinstance(loss, ChunkLoss):
        at = replace(chunk_context(count, **given), spans=spans(count))
        return Inputs(log_likelihoods(count, seed=seed), log_likelihoods(count, seed=seed + 1), at)
    starts = isinstance(loss, DistributionLoss)
    context = start_context(count, COLUMNS, COLUMNS, **given) if starts else token_context(count, COLUMNS, **given)
    return Inputs(logits(count, COLUMNS, seed=seed), logits(count, COLUMNS, seed=seed + 1), context)


def feature_inputs(
    loss: FeatureLoss, count: int = COUNT, seed: int = 0, *, sizes: tuple[int, int] = HIDDEN, **given: Any
) -> Inputs:
    """Return random states of both hidden sizes, heads, and the loss's module, built under a fixed seed."""
    columns = (COLUMNS, TEACHER_COLUMNS)
    heads = [Head(logits(n, size, seed=9, scale=0.5)) for n, size in zip(columns, sizes, strict=True)]
    student, teacher = (logits(count, size, seed=seed + i, scale=1.0) for i, size in enumerate(sizes))
    return Inputs(student, teacher, feature_context(count, heads[0], heads[1], **given), built(loss, *sizes))


def built(loss: FeatureLoss, student_size: int, teacher_size: int) -> Any:
    """Return what the loss builds under seed 0, and leave torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return loss.build(student_size, teacher_size)
