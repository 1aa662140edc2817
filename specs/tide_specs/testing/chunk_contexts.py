"""Random inputs of losses that look beyond one chunk: the places where chunks begin, hidden states, words and lines.

Shapes: c chunks, V columns of a side, H hidden size.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from tide_specs.denoiser import Head
from tide_specs.loss import ChunkContext, FeatureContext, Resolution, StartContext

from .contexts import chunk_context, log_likelihoods

WORD, LINE = 2, 5
"""Chunks of a word and of a line; the last word of a line is shorter."""
SEQUENCE = 5
"""Chunks of a sequence."""


def spans(count: int) -> dict[Resolution, Tensor]:
    """Return numbers of ``count`` chunks' words and lines, as ``ChunkContext.spans`` has them; words nest in lines."""
    place = torch.arange(count)
    return {"word": place // LINE * LINE + place % LINE // WORD, "line": place // LINE}


def start_context(count: int, columns: int, teacher_columns: int, *, seed: int = 0, **given: Any) -> StartContext:
    """Return a plausible context of ``count`` chunk starts; ``given`` replaces fields of it."""
    random = torch.Generator().manual_seed(seed + 1)
    made = StartContext(
        **_fields(chunk_context(count, seed=seed)),
        targets=torch.randint(columns, (count,), generator=random),
        teacher_targets=torch.randint(teacher_columns, (count,), generator=random),
        teacher_log_likelihood=log_likelihoods(count, seed=seed),
    )
    return replace(made, **given)


def feature_context(count: int, student: Head, teacher: Head, *, seed: int = 0, **given: Any) -> FeatureContext:
    """Return a plausible context of ``count`` chunks in sequences of a few; ``given`` replaces fields of it."""
    columns, teacher_columns = (int(head.weight.shape[0]) for head in (student, teacher))
    made = FeatureContext(
        **_fields(start_context(count, columns, teacher_columns, seed=seed)),
        sequence=torch.arange(count) // SEQUENCE,
        student_head=student,
        teacher_head=teacher,
    )
    return replace(made, **given)


def _fields(context: ChunkContext) -> dict[str, Any]:
    return {f.name: getattr(context, f.name) for f in fields(context)}
