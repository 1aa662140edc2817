"""A teacher that answers in sub-steps, each of which sees what it wrote in those before (``SequentialTeacherView``).

Which positions a sub-step reveals, and the random numbers that its tokens are drawn with, are worked out on the CPU; on the
device nothing but forward passes and draws remain, and nobody waits for it.

Shapes: B rows, L tokens of the teacher's side, M positions that the teacher answers, r revealed ones, H hidden size, V
columns of the teacher's head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tide_core.micro_batch import Revealing, SubStep, SubSteps, TeacherRows
from tide_specs import Batch, Denoiser, Draws, Head, NoiseSchedule, PluginError, SequentialTeacherView, Side


def teacher_times(batch: Batch, t: Tensor) -> Tensor:
    """Time [B, L] float64 of each teacher token: that of its chunk; 1 outside chunks, where nothing is hidden."""
    assert batch.teacher is not None
    table = torch.ones(batch.chunks + 1, dtype=torch.float64)
    table[batch.student.chunk.flatten()] = t.flatten().double()
    table[-1] = 1.0
    return table[batch.teacher.chunk]


def revealings_of(
    view: SequentialTeacherView, side: Side, masked: Tensor, t: Tensor, schedule: NoiseSchedule, draws: Draws
) -> list[Revealing]:
    """Ask a view what each sub-step but the last reveals of ``masked`` [B, L]; t [B, L]. Raises ``PluginError``."""
    found: list[Revealing] = []
    hidden = masked
    for step in range(view.sub_steps - 1):
        revealed = view.reveal(step, side, hidden, t, schedule, draws)
        if revealed.dtype != torch.bool or revealed.shape != masked.shape or bool((revealed & ~hidden).any()):
            raise PluginError(
                f"teacher_view '{view.name}' must reveal, in sub-step {step}, a boolean subset of the positions that are "
                f"still masked, {list(masked.shape)}; it returned {list(revealed.shape)} in {revealed.dtype}"
            )
        uniform = draws.uniform(f"token of sub-step {step}", masked.shape[1])
        found.append(Revealing(revealed=revealed, uniform=uniform))
        hidden = hidden & ~revealed
    return found


def sub_steps_of(revealings: Sequence[Revealing], place: Tensor) -> SubSteps:
    """Work out which sub-step answers each of the M positions at ``place`` in the flattened [B * L]."""
    left = torch.ones(len(place), dtype=torch.bool)
    steps: list[SubStep] = []
    for one in revealings:
        here = one.revealed.reshape(-1)
        places = here.nonzero()[:, 0]
        rows = (here[place] & left).nonzero()[:, 0]
        left &= ~here[place]
        steps.append(SubStep(rows=rows, places=places, uniform=one.uniform.reshape(-1)[places]))
    last = left.nonzero()[:, 0]
    steps.append(SubStep(rows=last, places=last[:0], uniform=torch.zeros(0, dtype=torch.float64)))
    return SubSteps(steps=tuple(steps))


@torch.no_grad()
def answer_in_sub_steps(teacher: Denoiser, side: Side, rows: TeacherRows, *, elements: int) -> Tensor:
    """Run the sub-steps one after another -> hidden states [M, H], each of the sub-step that answers its position.

    elements: logits that may exist at once while tokens are drawn.
    """
    assert rows.sub_steps is not None
    ids, head = rows.noised[0], teacher.head()
    answered: Tensor | None = None
    for step in rows.sub_steps.steps:
        hidden = teacher.hidden(ids, side.ids, side.lengths, side.documents).flatten(0, 1)
        if answered is None:
            answered = hidden.new_empty(rows.index.shape[0], hidden.shape[1])
        answered.index_copy_(0, step.rows, hidden[rows.index[step.rows]])
        if step.places.shape[0]:
            drawn = draw_tokens(hidden[step.places], head, step.uniform, never=teacher.mask_token_id, elements=elements)
            ids = ids.flatten().index_copy(0, step.places, drawn).view_as(ids)
    assert answered is not None
    return answered


@torch.no_grad()
def draw_tokens(hidden: Tensor, head: Head, uniform: Tensor, *, never: int | None, elements: int) -> Tensor:
    """Hidden states [r, H], uniform [r] float64 -> tokens [r] int64 drawn from the head's distribution, in slices.

    The distribution's inverse takes one number per token, where Gumbel noise would take V of them, made on the CPU. In
    float64: float32 sums over a large vocabulary miss what is unlikely. never: an id that is not drawn, the mask token.
    """
    drawn = torch.empty(hidden.shape[0], dtype=torch.int64, device=hidden.device)
    for part in head.slices(hidden.shape[0], elements=max(1, elements // 2)):
        logits = head.logits(hidden[part]).double()
        if never is not None:
            logits[:, never] = -torch.inf
        reached = logits.softmax(1).cumsum(1)
        # Below the last sum, so that the first sum above it belongs to a token whose probability is not zero.
        wanted = uniform[part, None].clamp(max=1 - 2**-40) * reached[:, -1:]
        drawn[part] = torch.searchsorted(reached, wanted, right=True)[:, 0]
    return drawn
