"""Attention of one model's chunks over another's, and what a head makes of the result.

Shapes: c chunks, H_S and H_T hidden sizes of student and teacher, n chunks of one slice, V columns of a head.
"""

# torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tide_specs import FeatureContext, Head

from .divergences import kl

ELEMENTS = 1 << 23
"""Logits of a slice."""
SMALLEST = 1e-8
"""Added to mean squares, so that a state of zeros has a finite gradient."""


class CrossModelAttention(nn.Module):
    """The projections that dual-space distillation learns, float32."""

    def __init__(self, student_size: int, teacher_size: int, *, both: bool) -> None:
        super().__init__()
        self.query = nn.Linear(2 * student_size, 2 * teacher_size)
        self.to_student = nn.Linear(teacher_size, student_size)
        self.to_teacher = nn.Linear(student_size, teacher_size) if both else None

    def forward(
        self, student: Tensor, teacher: Tensor, at: FeatureContext, *, with_targets: bool
    ) -> tuple[Tensor, Tensor | None]:
        """States [c, H_S] and [c, H_T] -> teacher states in the student's space [c, H_S], and, for both spaces, student
        states in the teacher's [c, H_T]. No chunk sees another sequence."""
        tokens = normalised(at.teacher_head.weight[at.teacher_targets].to(teacher))
        own_tokens = normalised(at.student_head.weight[at.targets].to(student))
        states = normalised(teacher)
        query = self.query(torch.cat([normalised(student.detach()), own_tokens], 1))
        key = torch.cat([states, tokens], 1).to(query)
        scores = (query @ key.T).to(student) / math.sqrt(key.shape[1])
        scores = scores.masked_fill(at.sequence[:, None] != at.sequence, -torch.inf)
        values = self.to_student(states + tokens if with_targets else states).to(student)
        found = scores.softmax(1) @ values
        if self.to_teacher is None:
            return found, None
        return found, scores.T.softmax(1) @ self.to_teacher(student).to(student)


def normalised(states: Tensor) -> Tensor:
    """Scale states [c, H] to a mean square of one."""
    return states * (states.square().mean(1, keepdim=True) + SMALLEST).rsqrt()


def in_student_space(
    student: Tensor, found: Tensor, at: FeatureContext, temperature: float, correct_only: bool
) -> Tensor:
    """Student states and projected teacher states, both [c, H_S] -> losses [c]: KL, and cross-entropy of the projection."""
    head = at.student_head

    def slice_losses(ours: Tensor, theirs: Tensor, targets: Tensor) -> Tensor:
        guess = _logits(head, theirs)
        learned = -guess.log_softmax(1).gather(1, targets[:, None])[:, 0]
        losses = _tempered_kl(guess.detach(), _logits(head, ours), temperature)
        return learned + (losses * (guess.argmax(1) == targets) if correct_only else losses)

    return _in_slices(head, slice_losses, student, found, at.targets)


def in_teacher_space(returned: Tensor, teacher: Tensor, at: FeatureContext, temperature: float) -> Tensor:
    """Projected student states and teacher states, both [c, H_T] -> KL [c] from the teacher's own distribution."""
    head = at.teacher_head

    def slice_losses(ours: Tensor, theirs: Tensor) -> Tensor:
        return _tempered_kl(_logits(head, theirs), _logits(head, ours), temperature)

    return _in_slices(head, slice_losses, returned, teacher)


def _tempered_kl(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Logits [n, V] of both sides -> T^2 times the forward KL [n]."""
    log_p, log_q = ((side / temperature).log_softmax(1) for side in (teacher, student))
    return kl(log_p, log_q) * temperature**2


def _logits(head: Head, states: Tensor) -> Tensor:
    """States [n, H] -> float32 logits [n, V], multiplied in the precision of the weights, which are not copied."""
    return head.logits(states.to(head.weight.dtype))


def _in_slices(head: Head, losses: Callable[..., Tensor], first: Tensor, *rest: Tensor) -> Tensor:
    """Evaluate [n, V] logits of a slice at a time; the backward pass makes each slice's again."""
    # The empty part keeps states, and what projected them, in the graph of a micro-batch without chunks.
    parts = [first.sum(1)[:0] + rest[0].sum(1)[:0]]
    for part in head.slices(len(first), elements=ELEMENTS):
        sliced = [tensor[part] for tensor in (first, *rest)]
        parts.append(checkpoint(losses, *sliced, use_reentrant=False, preserve_rng_state=False))  # pyright: ignore[reportArgumentType]
    return torch.cat(parts)
