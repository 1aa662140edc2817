"""The teacher's distribution over the student's columns, where chunks begin.

Shapes: c chunks, V_S and V_T columns of the two heads, K = V_S + 1 outcomes: every student column, then the tail.

The tail is one outcome that holds what the two sides cannot say to each other. On the teacher's side: tokens without an
image, and tokens that a cache does not list. On the student's side: every column to which the teacher gives nothing in this
row. Such a column has no outcome of its own: its log-probability reads ``NEVER`` and its probability is counted in the tail.
So both sides sum to one, and no outcome but the tail has p > 0 with q = 0, which reverse KL could not bear. The opposite,
q > 0 with p = 0, arises for the tail alone, in rows in which every text token of the student's has an outcome: what is left
is special tokens and padding, which nobody wants to see raised to q. There the tail is left out (see ``_without_tail``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tide_specs import Outcomes, StartContext, VocabularyBridge

from .vocabulary_map import VocabularyMap

Tail = Literal["compared", "left_out"]

NEVER = -1e4
"""Log-probability of an outcome that is counted elsewhere: its exponential is zero, and it times zero is zero."""
FLOOR = torch.finfo(torch.float32).min / 4
"""Stands for minus infinity inside a log-sum: finite, so that its gradient is zero rather than NaN."""
TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class _Plan:
    """A map for heads of certain sizes on a certain device.

    place [V_T + 1] int64: outcome of each teacher column; text [V_S] bool; silent: whether in every row some text token
    of the student's is counted in the tail.
    """

    place: Tensor
    text: Tensor
    silent: bool


class ProjectionBridge(VocabularyBridge):
    """Projects the teacher's probabilities into the student's columns along a map.

    Args:
        mapping: the image of each teacher token.
        correct_undershoot: where one student token is several teacher tokens, give it the chunk's likelihood.
        top_k: project the teacher's k most likely tokens alone; what is left goes to the tail. ``None``: all.
        tail: ``compared`` as an outcome, or ``left_out``.
    """

    def __init__(
        self,
        mapping: VocabularyMap,
        *,
        correct_undershoot: bool = True,
        top_k: int | None = None,
        tail: Tail = "compared",
    ) -> None:
        self.mapping = mapping
        self.correct_undershoot, self.top_k, self.tail = correct_undershoot, top_k, tail
        self._plans: dict[tuple[torch.device, int, int], _Plan] = {}

    def outcomes(self, student: Tensor, teacher: Tensor, at: StartContext) -> Outcomes:
        """Student logits [c, V_S], teacher probabilities [c, V_T + 1] -> both sides over K outcomes."""
        plan = self._plan(student.device, student.shape[1], teacher.shape[1] - 1)
        projected, listed = self._projected(teacher.detach(), plan, student.shape[1], at.teacher_targets[:, None])
        if self.correct_undershoot:
            projected = _corrected(projected, listed, plan, at)
        return Outcomes(self._named(student.log_softmax(1), projected, plan), projected)

    def _plan(self, device: torch.device, own: int, other: int) -> _Plan:
        """The map for heads of V_S = ``own`` and V_T = ``other`` columns; made once."""
        key = (device, own, other)
        if key not in self._plans:
            column = torch.from_numpy(self.mapping.column)[:other]
            place = torch.full((other + 1,), own)
            place[: len(column)] = torch.where((column >= 0) & (column < own), column, own)
            text = torch.zeros(own, dtype=torch.bool)
            known = torch.from_numpy(self.mapping.text)[:own]
            text[: len(known)] = known
            unreached = text.clone()
            unreached[place[place < own]] = False
            # The correction may give one of them an outcome of its own.
            silent = int(unreached.sum()) > 1 or (self.top_k is not None and int(text.sum()) > self.top_k + 1)
            self._plans[key] = _Plan(place.to(device), text.to(device), silent)
        return self._plans[key]

    def _projected(self, teacher: Tensor, plan: _Plan, columns: int, first: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities [c, V_T + 1] -> [c, K], and whether the tokens ``first`` [c, 1] went to their image [c, 1].

        Every entry goes to one outcome, so mass is conserved.
        """
        empty = teacher.new_zeros(len(teacher), columns + 1)
        if self.top_k is None or self.top_k >= teacher.shape[1] - 1:
            return empty.index_add(1, plan.place, teacher), teacher.gather(1, first) > 0
        shares, ids = teacher[:, :-1].topk(self.top_k, dim=1)
        found = empty.scatter_add(1, plan.place[ids], shares)
        found[:, -1] += teacher.scatter(1, ids, 0.0).sum(1)
        return found, ((ids == first) & (shares > 0)).any(1, keepdim=True)

    def _named(self, log_p: Tensor, teacher: Tensor, plan: _Plan) -> Tensor:
        """Student log-probabilities [c, V_S] and projected probabilities [c, K] -> log-probabilities [c, K]."""
        named = teacher[:, :-1] > 0
        own = torch.where(named, log_p, NEVER)
        if self.tail == "left_out":
            return _without_tail(log_p, own, named, teacher)
        compared = torch.cat([own, torch.where(named, FLOOR, log_p).logsumexp(1, keepdim=True)], 1)
        if plan.silent:
            return compared
        speaks = (plan.text & ~named).any(1, keepdim=True)
        return torch.where(speaks, compared, _without_tail(log_p, own, named, teacher))


def _without_tail(log_p: Tensor, own: Tensor, named: Tensor, teacher: Tensor) -> Tensor:
    """Log-probabilities [c, K] of a student that is asked only about what both sides can say.

    Its tail is the teacher's, its named columns share what is left: then KL is (1 - q_tail) times the KL of the
    distributions given that the token is one that has a name, in either direction.
    """
    share = teacher[:, :-1].sum(1, keepdim=True).clamp(min=TINY).log()
    total = torch.where(named, log_p, FLOOR).logsumexp(1, keepdim=True)
    scaled = torch.where(named, own - torch.where(total > FLOOR / 2, total, 0.0) + share, NEVER)
    tail = teacher[:, -1:]
    return torch.cat([scaled, torch.where(tail > 0, tail.clamp(min=TINY).log(), NEVER)], 1)


def _corrected(projected: Tensor, listed: Tensor, plan: _Plan, at: StartContext) -> Tensor:
    """Where one student token is several teacher tokens, move the chunk's likelihood to it from the first one's image.

    The teacher's first token is as likely as the whole chunk at least, so the image holds that much; rounding, and a
    first token that is not listed (its mass is then in the tail), are seen to.
    """
    tail = projected.shape[1] - 1
    source = torch.where(listed, plan.place[at.teacher_targets[:, None]], tail)
    held = projected.gather(1, source)
    moved = torch.minimum(at.teacher_log_likelihood.to(held.dtype).exp()[:, None], held)
    applies = (at.student_tokens == 1) & (at.teacher_tokens > 1)
    moved = torch.where(applies[:, None], moved, 0.0)
    return projected.scatter_add(1, source, -moved).scatter_add(1, at.targets[:, None], moved)
