"""Random inputs of losses and weightings: textbook tensors, with the context that the core would supply.

Shapes: n positions, V columns, c chunks, T teachers.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from tide_specs.loss import ChunkContext, TokenContext
from tide_specs.weighting import WeightingContext

Context = TypeVar("Context", TokenContext, ChunkContext, WeightingContext)


def token_context(count: int, columns: int, *, seed: int = 0, **given: Any) -> TokenContext:
    """Return a plausible context of ``count`` positions; ``given`` replaces fields of it."""
    random = torch.Generator().manual_seed(seed)
    t = torch.rand(count, generator=random) * 0.9 + 0.05
    made = TokenContext(
        targets=torch.randint(columns, (count,), generator=random),
        t=t,
        schedule_weight=1 / t,
        interpolation=torch.rand(count, generator=random),
        maskable_in_sequence=torch.randint(1, 50, (count,), generator=random).float(),
        progress=0.3,
    )
    return replace(made, **given)


def chunk_context(count: int, *, seed: int = 0, **given: Any) -> ChunkContext:
    """Return a plausible context of ``count`` chunks; ``given`` replaces fields of it."""
    random = torch.Generator().manual_seed(seed)
    t = torch.rand(count, generator=random) * 0.9 + 0.05
    made = ChunkContext(
        t=t,
        schedule_weight=1 / t,
        interpolation=torch.rand(count, generator=random),
        student_tokens=torch.randint(1, 4, (count,), generator=random),
        teacher_tokens=torch.randint(1, 4, (count,), generator=random),
        bytes=torch.randint(1, 12, (count,), generator=random),
        relation=torch.randint(4, (count,), generator=random),
        progress=0.3,
    )
    return replace(made, **given)


def weighting_context(
    count: int, teachers: int = 3, *, teacher: int = 0, seed: int = 0, **given: Any
) -> WeightingContext:
    """Return a plausible context of ``count`` chunks of one of several teachers; ``given`` replaces fields of it.

    Each of the other teachers is silent (-inf) about a fifth of the chunks.
    """
    random = torch.Generator().manual_seed(seed)
    t = torch.rand(count, generator=random) * 0.9 + 0.05
    likelihoods = -10 * torch.rand(count, teachers, generator=random)
    silent = torch.rand(count, teachers, generator=random) < 0.2
    silent[:, teacher] = False
    made = WeightingContext(t=t, progress=0.3, teacher=teacher, likelihoods=likelihoods.masked_fill(silent, -torch.inf))
    return replace(made, **given)


def chosen(context: Context, index: Tensor) -> Context:
    """Return the context of the positions or chunks that ``index`` picks, in its order."""
    tensors = {f.name: getattr(context, f.name) for f in fields(context)}
    return replace(context, **{name: v[index] for name, v in tensors.items() if isinstance(v, Tensor)})


def logits(count: int, columns: int, *, seed: int = 0, scale: float = 2.0) -> Tensor:
    """Return float32 logits [n, V]."""
    return torch.randn(count, columns, generator=torch.Generator().manual_seed(seed)) * scale


def log_likelihoods(count: int, *, seed: int = 0) -> Tensor:
    """Return float32 log-likelihoods [c] of text spans, from near 0 to about -10."""
    return -(torch.rand(count, generator=torch.Generator().manual_seed(seed)) * 2.2).exp() + 0.99
