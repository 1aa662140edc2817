"""What the losses of one slice see of it; each quantity is computed once, when the first loss asks for it.

Shapes: n positions of the slice, C student columns, N masked student positions, a chunks of a teacher in the slice, V_T
columns of a teacher's head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from tide_core.method import Term
from tide_core.micro_batch import ChunkRows, MicroBatch, StudentRows, Taught
from tide_core.objective import Objective, Part
from tide_core.teacher_answers import TeacherAnswers
from tide_specs import (
    ChunkContext,
    ChunkLoss,
    DistributionLoss,
    Loss,
    Outcomes,
    PluginError,
    Resolution,
    SelfLoss,
    StartContext,
    TokenContext,
    TokenLoss,
)


@dataclass(frozen=True, kw_only=True)
class _SharingContext(TokenContext):
    """A context whose ``log_likelihood`` is computed once for all losses that ask about the slice's own logits."""

    logits: Tensor
    shared: Callable[[], Tensor]

    def log_likelihood(self, student: Tensor) -> Tensor:
        """Log-likelihoods [n]; logits that a loss changed are evaluated by themselves."""
        return self.shared() if student is self.logits else super().log_likelihood(student)


class SliceView:
    """One slice of the student's logits [n, C]; ``likelihood`` computes log p of its targets [n], in float32."""

    def __init__(
        self,
        logits: Tensor,
        part: Part,
        work: MicroBatch,
        answers: Sequence[TeacherAnswers],
        objective: Objective,
        likelihood: Callable[[], Tensor],
    ) -> None:
        self.logits, self.part, self.work, self.objective = logits, part, work, objective
        # Shared with the lessons, which do not know the view: a cycle of references would keep the slice's logits alive.
        self._likelihood = cache(likelihood)
        self._lessons = [
            _LessonView(logits, part, number, work, taught, answer, objective, self._likelihood)
            for number, (taught, answer) in enumerate(zip(work.taught, answers, strict=True))
        ]

    def evaluate(self, term: Term) -> tuple[Tensor, int]:
        """Return the loss's values and how many there should be."""
        if isinstance(term.loss, SelfLoss):
            return term.loss.per_token(self.logits, self._own_context()), self.logits.shape[0]
        assert term.lesson is not None  # the run file's check saw to it
        return self._lessons[term.lesson].evaluate(term.loss)

    def factor(self, term: Term) -> Tensor | None:
        """How much the teacher is listened to at each value of the loss; ``None``: 1 everywhere."""
        return None if term.lesson is None else self._lessons[term.lesson].factor(term.loss)

    def _own_context(self) -> TokenContext:
        # Not kept: a view that holds a context that holds the view would hold the slice's memory, too.
        student, objective = self.work.student, self.objective
        facts = _token_facts(student, self.part.rows, student.target, objective.interpolation, objective.progress)
        return _SharingContext(**facts, logits=self.logits, shared=self._likelihood)


def _token_facts(
    student: StudentRows, rows: slice | Tensor, targets: Tensor, interpolation: Tensor, progress: float
) -> dict[str, Any]:
    """Fields of a ``TokenContext`` at ``rows`` of the N positions; targets and interpolation [N]."""
    return {
        "targets": targets[rows],
        "t": student.t[rows],
        "schedule_weight": student.weight[rows],
        "interpolation": interpolation[rows],
        "maskable_in_sequence": student.maskable[rows],
        "progress": progress,
    }


class _LessonView:
    """What the losses that compare with one teacher see of a slice."""

    def __init__(
        self,
        logits: Tensor,
        part: Part,
        number: int,
        work: MicroBatch,
        taught: Taught,
        answers: TeacherAnswers,
        objective: Objective,
        likelihood: Callable[[], Tensor],
    ) -> None:
        self._logits, self._part, self._student, self._taught = logits, part, work.student, taught
        self._answers, self._objective, self._progress = answers, objective.lessons[number], objective.progress
        self._at, self._shared = part.chunks[number], part.shared[number]
        self._likelihood = likelihood

    def evaluate(self, loss: Loss) -> tuple[Tensor, int]:
        """Return the loss's values and how many there should be."""
        if isinstance(loss, TokenLoss):
            rows = self._shared_rows
            share = self._objective.interpolation_tokens
            facts = _token_facts(self._student, rows, self._taught.column, share, self._progress)
            return loss.per_token(*self._shared_logits, TokenContext(**facts)), rows.shape[0]
        count = self._at.stop - self._at.start
        if isinstance(loss, DistributionLoss):
            return loss.per_start(*self._outcomes, self._start_context), count
        assert isinstance(loss, ChunkLoss)
        return loss.per_chunk(self._likelihoods, self._taught_likelihoods, ChunkContext(**self._chunk_facts)), count

    def factor(self, loss: Loss) -> Tensor | None:
        """How much the teacher is listened to at each value of ``loss``."""
        factor = self._objective.factor
        if factor is None:
            return None
        return factor[self._taught.chunk[self._shared_rows]] if isinstance(loss, TokenLoss) else factor[self._at]

    @cached_property
    def _shared_rows(self) -> Tensor:
        """Which of the N positions lie in the slice and are answered by the teacher over shared columns."""
        return self._taught.shared[self._shared]

    @cached_property
    def _shared_logits(self) -> tuple[Tensor, Tensor]:
        """Student and teacher logits over the shared columns, at ``_shared_rows``."""
        columns, rows = self._objective.columns, self._shared_rows
        assert columns is not None  # the assembly saw to it for every token loss
        whole = rows.shape[0] == self._logits.shape[0]
        student = self._logits if whole else self._logits[rows - self._part.start]
        teacher = self._answers.logits(self._taught.row[rows])
        if columns.student_ids is None or columns.teacher_ids is None:
            return student[:, : columns.size], teacher[:, : columns.size]
        ids = (torch.from_numpy(columns.student_ids), torch.from_numpy(columns.teacher_ids))
        return student[:, ids[0].to(student.device)], teacher[:, ids[1].to(teacher.device)]

    @cached_property
    def _likelihoods(self) -> Tensor:
        """Student log-likelihoods [a] of the slice's chunks: sums over their tokens, in float32."""
        token, count = self._likelihood(), self._at.stop - self._at.start
        # Positions outside every chunk are summed into one extra entry, which is cut off: no selection, no host sync.
        chunk = self._taught.chunk[self._part.rows]
        place = torch.where(chunk >= 0, chunk - self._at.start, count)
        return token.new_zeros(count + 1).index_add(0, place, token)[:count]

    @property
    def _taught_likelihoods(self) -> Tensor:
        assert self._answers.likelihoods is not None
        return self._answers.likelihoods[self._at]

    @cached_property
    def _outcomes(self) -> Outcomes:
        """Both sides' distributions where the slice's chunks begin, as the bridge compares them."""
        bridge, chunks = self._objective.bridge, self._taught.chunks
        assert bridge is not None  # the assembly saw to it for every distribution loss
        student = self._logits[chunks.first[self._at] - self._part.start]
        teacher = self._answers.probabilities(chunks.teacher_first[self._at])
        found = bridge.outcomes(student, teacher, self._start_context)
        if found.student.shape != found.teacher.shape or found.student.shape[0] != student.shape[0]:
            raise PluginError(
                f"the bridge {type(bridge).__name__} returned outcomes of shapes {list(found.student.shape)} and "
                f"{list(found.teacher.shape)}; both must be [{student.shape[0]}, K]"
            )
        return found

    @cached_property
    def _start_context(self) -> StartContext:
        taught, at = self._taught, self._at
        return StartContext(
            **self._chunk_facts,
            targets=self._student.target[taught.chunks.first[at]],
            teacher_targets=taught.rows.target[taught.chunks.teacher_first[at]],
            teacher_log_likelihood=self._taught_likelihoods,
        )

    @property
    def _chunk_facts(self) -> dict[str, Any]:
        return chunk_facts(self._taught.chunks, self._at, self._objective.interpolation_chunks, self._progress)


def chunk_facts(chunks: ChunkRows, at: slice, interpolation: Tensor, progress: float) -> dict[str, Any]:
    """Fields of a ``ChunkContext`` for the chunks ``at``; interpolation [A]."""
    spans: dict[Resolution, Tensor] = {}
    if chunks.word is not None:
        spans["word"] = chunks.word[at]
    if chunks.line is not None:
        spans["line"] = chunks.line[at]
    return {
        "t": chunks.t[at],
        "schedule_weight": chunks.weight[at],
        "interpolation": interpolation[at],
        "student_tokens": chunks.student_tokens[at],
        "teacher_tokens": chunks.teacher_tokens[at],
        "bytes": chunks.bytes[at],
        "relation": chunks.relation[at],
        "progress": progress,
        "spans": spans,
    }
