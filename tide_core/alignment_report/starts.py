"""What becomes of a teacher's distribution where chunks begin, when it must be said in the student's tokens.

Shapes: r chunk starts of one slice, V_S and V_T columns, K outcomes of a projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tide_specs import Alignment, AlignmentError, StartContext, TextTokenizer, VocabularyBridge

UNDERSHOOT = "correct_undershoot"
"""Option of a projecting alignment that the figures before and after the correction differ in."""


class Start(NamedTuple):
    """Figures of r chunk starts, each [r] float32, entropies in nats.

    covered: the teacher's mass m on tokens that the student has too; top_kept: 1 where its most likely token is one of them;
    dropped_entropy: (1 - m) times the entropy of the other tokens among themselves; entropy: of the teacher; projected_entropy:
    after projection; mass, corrected_mass: projected on the first student token that the text has, without and with the
    correction of undershoot.
    """

    covered: Tensor
    top_kept: Tensor
    dropped_entropy: Tensor
    entropy: Tensor
    projected_entropy: Tensor
    mass: Tensor
    corrected_mass: Tensor


@dataclass(frozen=True)
class StartFigures:
    """Works them out for one pair of tokenizers.

    shared [V_T] bool: teacher ids that the student has too; plain, corrected: the projection without and with its
    correction; columns: V_S.
    """

    shared: Tensor
    plain: VocabularyBridge
    corrected: VocabularyBridge
    columns: int

    @classmethod
    def of(cls, projection: Alignment, student: TextTokenizer, teacher: TextTokenizer, shared: Tensor) -> StartFigures:
        """Build the bridges of an alignment that yields ``projected``; shared [V_T] bool: equal bytes on both sides.

        Raises ``AlignmentError`` when nothing of one vocabulary can be said in the other.
        """
        shared = shared.clone()
        shared[teacher.end_of_turn_token_id] = True  # matched by role
        return cls(
            shared=shared,
            plain=_bridge(projection, student, teacher, {UNDERSHOOT: False}),
            corrected=_bridge(projection, student, teacher, {UNDERSHOOT: True}),
            columns=student.vocabulary_size,
        )

    def measure(self, logits: Tensor, at: StartContext) -> Start:
        """Teacher logits [r, V_T], float32, at the first teacher token of r chunks -> their figures."""
        log_q = logits.log_softmax(1)
        q = log_q.exp()
        information = -(q * log_q.clamp(min=torch.finfo(log_q.dtype).min))
        shared = self._shared(q)
        dropped = torch.where(shared, 0.0, q).sum(1)
        inside = torch.where(shared, 0.0, information).sum(1)
        entropy = information.sum(1)
        q_listed = torch.cat([q, q.new_zeros(len(q), 1)], 1)
        plain = self._projected(self.plain, q_listed, at)
        mass = plain.gather(1, at.targets[:, None])[:, 0]
        projected_entropy = -torch.xlogy(plain, plain).sum(1)
        return Start(
            covered=torch.where(shared, q, 0.0).sum(1),
            top_kept=shared.expand_as(q).gather(1, q.argmax(1, keepdim=True))[:, 0].float(),
            dropped_entropy=(inside + torch.xlogy(dropped, dropped)).clamp(min=0.0),
            entropy=entropy,
            projected_entropy=projected_entropy,
            mass=mass,
            corrected_mass=self._corrected(q_listed, at, mass),
        )

    def _shared(self, q: Tensor) -> Tensor:
        """[1, V_T] bool; a head may have more columns than its tokenizer has ids."""
        found = q.new_zeros(1, q.shape[1], dtype=torch.bool)
        size = min(q.shape[1], len(self.shared))
        found[0, :size] = self.shared[:size].to(q.device)
        return found

    def _corrected(self, q: Tensor, at: StartContext, mass: Tensor) -> Tensor:
        """The corrected mass [r]; only rows that a correction may change are projected again."""
        rows = (at.teacher_tokens > at.student_tokens).nonzero()[:, 0]
        if not len(rows):
            return mass
        some = at_rows(at, rows)
        found = self._projected(self.corrected, q[rows], some).gather(1, some.targets[:, None])[:, 0]
        return mass.index_copy(0, rows, found)

    def _projected(self, bridge: VocabularyBridge, q: Tensor, at: StartContext) -> Tensor:
        """Probabilities [r, K]; what a student would say plays no part in them."""
        return bridge.outcomes(q.new_zeros(len(q), self.columns), q, at).teacher


def context(targets: Tensor, teacher_targets: Tensor, sizes: Mapping[str, Tensor], likelihood: Tensor) -> StartContext:
    """What a bridge may know of r chunk starts; times and weights of a training step are all one.

    sizes: student_tokens, teacher_tokens, bytes and relation, each [r].
    """
    one = torch.ones_like(likelihood)
    return StartContext(
        t=one,
        schedule_weight=one,
        interpolation=one,
        progress=1.0,
        targets=targets,
        teacher_targets=teacher_targets,
        teacher_log_likelihood=likelihood,
        student_tokens=sizes["student_tokens"],
        teacher_tokens=sizes["teacher_tokens"],
        bytes=sizes["bytes"],
        relation=sizes["relation"],
    )


def at_rows(at: StartContext, rows: Tensor | slice) -> StartContext:
    """What is known of some of the chunk starts."""
    names = ("student_tokens", "teacher_tokens", "bytes", "relation")
    sizes = {name: getattr(at, name)[rows] for name in names}
    return context(at.targets[rows], at.teacher_targets[rows], sizes, at.teacher_log_likelihood[rows])


def _bridge(
    projection: Alignment, student: TextTokenizer, teacher: TextTokenizer, options: Mapping[str, bool]
) -> VocabularyBridge:
    known = {name: value for name, value in options.items() if name in type(projection).model_fields}
    bridge = projection.model_copy(update=known).bridge(student, teacher)
    if bridge is None:
        raise AlignmentError(f"alignment '{projection.name}' yields projected distributions and has no bridge")
    return bridge
