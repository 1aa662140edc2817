"""Bridges that are wrong on purpose. The correct one counts tokens by their first byte; any two vocabularies have bytes."""

from __future__ import annotations

from typing import ClassVar, Literal

from kit_correct import KitChunks
from kit_mutation import Mutant

from tide_specs import Outcomes, VocabularyBridge


class FirstBytes(VocabularyBridge):
    """K = 257: the first byte of a token; special tokens, padding and what is not listed."""

    def __init__(self, student, teacher):
        import torch

        self.ours, self.theirs = (
            torch.tensor([piece[0] if piece else 256 for piece in side.token_bytes()]) for side in (student, teacher)
        )

    def outcomes(self, student, teacher, at):
        import torch

        own = torch.zeros(len(student), 257).index_add(1, self.places(self.ours, student.shape[1]), student.softmax(1))
        other = teacher.detach()
        found = torch.zeros(len(other), 257).index_add(1, self.places(self.theirs, other.shape[1]), other)
        return Outcomes(own.clamp(min=1e-30).log(), found)

    def places(self, known, columns):
        import torch

        return torch.cat([known, torch.full((columns - len(known),), 256)])


class KitFirstBytes(KitChunks):
    """Correct: chunks, and first bytes as outcomes."""

    name: Literal["kit_first_bytes"] = "kit_first_bytes"
    yields: ClassVar[frozenset[str]] = frozenset({"chunks", "projected"})
    bridges: ClassVar[type[FirstBytes]] = FirstBytes

    def bridge(self, student, teacher):
        return self.bridges(student, teacher)


class NoBridge(KitFirstBytes):
    """Yields what it has no bridge for."""

    def bridge(self, student, teacher):
        return None


class _DropsPadding(FirstBytes):
    def outcomes(self, student, teacher, at):
        found = super().outcomes(student, teacher, at)
        return Outcomes(found.student[:, :256], found.teacher[:, :256])


class DropsPadding(KitFirstBytes):
    """What no outcome describes is forgotten."""

    bridges: ClassVar[type[FirstBytes]] = _DropsPadding


class _Uneven(FirstBytes):
    def outcomes(self, student, teacher, at):
        found = super().outcomes(student, teacher, at)
        return Outcomes(found.student[:, :256], found.teacher)


class Uneven(KitFirstBytes):
    """Two numbers of outcomes."""

    bridges: ClassVar[type[FirstBytes]] = _Uneven


class _MinusInfinity(FirstBytes):
    def outcomes(self, student, teacher, at):
        found = super().outcomes(student, teacher, at)
        return Outcomes(found.student.masked_fill(found.student < -5, float("-inf")), found.teacher)


class MinusInfinity(KitFirstBytes):
    """log 0."""

    bridges: ClassVar[type[FirstBytes]] = _MinusInfinity


class _SortsTogether(FirstBytes):
    def outcomes(self, student, teacher, at):
        found = super().outcomes(student, teacher, at)
        order = found.teacher.sum(0).argsort(descending=True)
        return Outcomes(found.student[:, order], found.teacher[:, order])


class SortsTogether(KitFirstBytes):
    """Orders outcomes by the whole slice."""

    bridges: ClassVar[type[FirstBytes]] = _SortsTogether


class _Softens(FirstBytes):
    def outcomes(self, student, teacher, at):
        return super().outcomes(student / 2, teacher, at)


class Softens(KitFirstBytes):
    """Tempers one side alone."""

    bridges: ClassVar[type[FirstBytes]] = _Softens


class _NotDetached(FirstBytes):
    def outcomes(self, student, teacher, at):
        found = super().outcomes(student, teacher, at)
        return Outcomes(found.student, found.teacher + 0 * teacher[:, :1])


class NotDetached(KitFirstBytes):
    """Differentiates the teacher."""

    bridges: ClassVar[type[FirstBytes]] = _NotDetached


class _Detached(FirstBytes):
    def outcomes(self, student, teacher, at):
        return super().outcomes(student.detach(), teacher, at)


class Detached(KitFirstBytes):
    """Teaches nothing."""

    bridges: ClassVar[type[FirstBytes]] = _Detached


class _InPlace(FirstBytes):
    def outcomes(self, student, teacher, at):
        found = super().outcomes(student, teacher, at)
        teacher *= 0.5
        return found


class InPlace(KitFirstBytes):
    """Changes the shared logits."""

    bridges: ClassVar[type[FirstBytes]] = _InPlace


class ReadsMore(KitFirstBytes):
    """Says that it looks at four tokens, and looks at all."""

    @property
    def reads_top_k(self):
        return 4


MUTANTS = [
    Mutant(NoBridge(), "check_outcomes_are_distributions", r"bridge\(\) returns NoneType"),
    Mutant(DropsPadding(), "check_outcomes_are_distributions", "do not add up to one"),
    Mutant(Uneven(), "check_outcomes_are_distributions", r"have shapes \(12, 256\) and \(12, 257\)"),
    Mutant(MinusInfinity(), "check_outcomes_are_distributions", "not finite"),
    Mutant(SortsTogether(), "check_outcomes_of_a_chunk_are_its_own", "compute each row alone"),
    Mutant(Softens(), "check_equal_sides_stay_equal", "treat both sides alike"),
    Mutant(NotDetached(), "check_bridge_passes_gradients_to_the_student_alone", r"use teacher\.detach\(\)"),
    Mutant(Detached(), "check_bridge_passes_gradients_to_the_student_alone", "no gradient reaches the student"),
    Mutant(InPlace(), "check_bridge_leaves_its_inputs", "in place"),
    Mutant(ReadsMore(), "check_bridge_reads_no_more_than_it_says", "reads_top_k is 4"),
]
CORRECT = [KitFirstBytes()]
