"""Weightings that are wrong on purpose."""

from __future__ import annotations

from typing import ClassVar

from kit_correct import KitShare
from kit_mutation import Mutant


class ScalarFactor(KitShare):
    """One number for all chunks."""

    def factor(self, at):
        return at.t.new_tensor(at.progress)


class DoubleFactor(KitShare):
    """In another precision."""

    def factor(self, at):
        return super().factor(at).double()


class MeanOfNothing(KitShare):
    """Cannot cope with a batch in which this teacher has no chunk."""

    def factor(self, at):
        return super().factor(at) / (at.t / at.t.max())


class NegativeFactor(KitShare):
    """A log-probability instead of a probability."""

    def factor(self, at):
        return at.likelihoods.log_softmax(1)[:, at.teacher]


class SilentTeachers(KitShare):
    """Sums over teachers that say nothing."""

    def factor(self, at):
        return at.likelihoods[:, at.teacher] / at.likelihoods.sum(1) * at.likelihoods.mean(1) / -1


class NakedExponential(KitShare):
    """0 / 0 where every teacher finds the text next to impossible."""

    def factor(self, at):
        shares = at.likelihoods.exp()
        return shares[:, at.teacher] / shares.sum(1)


class LearnedFactor(KitShare):
    """Something to learn."""

    def factor(self, at):
        import torch

        return torch.ones_like(at.t, requires_grad=True) * super().factor(at)


class BatchFactor(KitShare):
    """A mean of 1 over the batch."""

    def factor(self, at):
        factor = super().factor(at)
        return factor / factor.mean().clamp(min=1e-6)


class InPlaceFactor(KitShare):
    """Overwrites the likelihoods."""

    def factor(self, at):
        return at.likelihoods.sub_(at.likelihoods.logsumexp(1, keepdim=True)).exp()[:, at.teacher]


class NoisyFactor(KitShare):
    """Random."""

    def factor(self, at):
        import torch

        return torch.rand_like(at.t)


class UndeclaredReader(KitShare):
    """Does not say that it reads likelihoods."""

    reads_likelihoods: ClassVar[bool] = False


MUTANTS = [
    Mutant(ScalarFactor(), "check_shape", r"returns \[\] in torch\.float32; return a tensor like at\.t"),
    Mutant(DoubleFactor(), "check_shape", r"returns \[60\] in torch\.float64"),
    Mutant(MeanOfNothing(), "check_shape", "must handle this input"),
    Mutant(NegativeFactor(), "check_range", "must be finite and >= 0"),
    Mutant(SilentTeachers(), "check_range", "-inf where a teacher is silent"),
    Mutant(NakedExponential(), "check_range", "use softmax or logsumexp"),
    Mutant(LearnedFactor(), "check_no_gradient", "requires a gradient"),
    Mutant(BatchFactor(), "check_elementwise", "normalise over teachers"),
    Mutant(InPlaceFactor(), "check_repeatable", "changes its context in place"),
    Mutant(NoisyFactor(), "check_repeatable", "gives different factors"),
    Mutant(UndeclaredReader(), "check_declares_likelihoods", "reads_likelihoods is False"),
]
