"""Losses that are wrong on purpose."""

from __future__ import annotations

from typing import ClassVar, Literal

from kit_correct import KitChunkGap, KitCrossEntropy, KitForwardKL, KitTidal
from kit_mutation import Mutant
from torch import Tensor


class MeanOverPositions(KitForwardKL):
    """Returns a scalar."""

    def per_token(self, student, teacher, at):
        return super().per_token(student, teacher, at).mean()


class BatchNormalised(KitForwardKL):
    """Divides by the number of positions of the slice."""

    def per_token(self, student, teacher, at):
        return super().per_token(student, teacher, at) / max(1, len(student))


class Contrastive(KitCrossEntropy):
    """Softmax over positions."""

    def per_token(self, student, at):
        return -student.log_softmax(0).gather(1, at.targets[:, None])[:, 0]


class Shuffled(KitCrossEntropy):
    """Off by one: the next position's target."""

    def per_token(self, student, at):
        return -student.log_softmax(1).gather(1, at.targets.roll(1)[:, None])[:, 0]


class Random(KitForwardKL):
    """Estimates by sampling."""

    def per_token(self, student, teacher, at):
        import torch

        return super().per_token(student, teacher, at) * torch.rand(len(student))


class TeacherNotDetached(KitForwardKL):
    """Lets the gradient reach the teacher."""

    def per_token(self, student, teacher, at):
        log_p, log_q = teacher.log_softmax(1), student.log_softmax(1)
        return (log_p.exp() * (log_p - log_q)).sum(1)


class StudentDetached(KitForwardKL):
    """Teaches nothing."""

    def per_token(self, student, teacher, at):
        return super().per_token(student.detach(), teacher, at)


class TargetNotDetached(KitTidal):
    """Differentiates through the interpolated target."""

    def own(self, student):
        return student


class SoftmaxThenLog(KitForwardKL):
    """log of an underflowing softmax."""

    def per_token(self, student, teacher, at):
        p, q = teacher.detach().softmax(1), student.softmax(1)
        return (p * (p.log() - q.log())).sum(1)


class NaiveLogOdds(KitChunkGap):
    """log(1 - p) at p = 1."""

    def per_chunk(self, student, teacher, at):
        s, t = student.exp(), teacher.detach().exp()
        return -(t * student + (1 - t) * (1 - s).log())


class InfiniteGradient(KitChunkGap):
    """A finite value whose derivative is infinite where both agree."""

    def per_chunk(self, student, teacher, at):
        return (student - teacher.detach()).abs().sqrt()


class Unnormalised(KitForwardKL):
    """Compares raw logits and calls it a divergence."""

    def per_token(self, student, teacher, at):
        return ((student - teacher.detach()) ** 2).sum(1)


class CrossEntropyAsDivergence(KitForwardKL):
    """Forgets the teacher's entropy."""

    def per_token(self, student, teacher, at):
        return -(teacher.detach().softmax(1) * student.log_softmax(1)).sum(1)


class WrongSign(KitForwardKL):
    """Maximises."""

    def per_token(self, student, teacher, at):
        return -super().per_token(student, teacher, at)


class Reversed(KitForwardKL):
    """Reverse KL that calls itself forward."""

    def per_token(self, student, teacher, at):
        log_p, log_q = teacher.detach().log_softmax(1), student.log_softmax(1)
        return (log_q.exp() * (log_q - log_p)).sum(1)


class HalfPrecision(KitForwardKL):
    """Computes in bfloat16."""

    def per_token(self, student, teacher, at):
        return super().per_token(student.bfloat16(), teacher.bfloat16(), at).to(student.dtype)


class Sharp(KitCrossEntropy):
    """Amplifies differences that bfloat16 cannot hold."""

    def per_token(self, student, at):
        return (student * 1e4).sin().sum(1)


class WeightedTwice(KitForwardKL):
    """Applies its own weight."""

    def per_token(self, student, teacher, at):
        return self.weight * super().per_token(student, teacher, at)


class InPlace(KitForwardKL):
    """Changes the shared logits."""

    def per_token(self, student, teacher, at):
        teacher -= teacher.max(1, keepdim=True).values
        return super().per_token(student, teacher, at)


class WrongPort(KitForwardKL):
    """Says that it compares chunks."""

    compares: ClassVar[Literal["chunks"]] = "chunks"


class WrongDenominator(KitForwardKL):
    """Names no known denominator."""

    @property
    def denominator(self):
        return "tokens"


class NotATensor(KitForwardKL):
    """Returns a list."""

    def per_token(self, student, teacher, at):
        return super().per_token(student, teacher, at).tolist()


class NumpyInside(KitForwardKL):
    """Leaves torch, so that nothing can be learned."""

    def per_token(self, student, teacher, at) -> Tensor:
        import torch

        return torch.from_numpy(super().per_token(student, teacher, at).detach().numpy())


class CrashesOnOne(KitForwardKL):
    """Squeezes away the only position."""

    def per_token(self, student, teacher, at):
        return super().per_token(student, teacher, at).squeeze()


MUTANTS = [
    Mutant(MeanOverPositions(), "check_shape", r"returns \(\); return one number per position"),
    Mutant(NotATensor(), "check_shape", r"returns list; return one number per position"),
    Mutant(CrashesOnOne(), "check_shape", r"for 1 positions the loss returns \(\)"),
    Mutant(BatchNormalised(), "check_items_are_independent", "changes with the other positions of its slice"),
    Mutant(Contrastive(), "check_items_are_independent", "changes with the other positions of its slice"),
    Mutant(Contrastive(), "check_gradients_are_independent", "has a gradient at other positions"),
    Mutant(Shuffled(), "check_items_are_independent", "compute each row alone"),
    Mutant(Random(), "check_items_are_independent", "two different losses"),
    Mutant(TeacherNotDetached(), "check_no_gradient_to_teacher", r"use teacher\.detach\(\)"),
    Mutant(StudentDetached(), "check_gradients_are_independent", "no gradient reaches the student"),
    Mutant(NumpyInside(), "check_gradients_are_independent", "without torch operations"),
    Mutant(TargetNotDetached(), "check_interpolated_target_is_detached", "detach the student where it enters"),
    Mutant(SoftmaxThenLog(), "check_extreme_inputs", "stay in log space"),
    Mutant(NaiveLogOdds(), "check_extreme_inputs", "log1mexp"),
    Mutant(InfiniteGradient(), "check_extreme_inputs", "gradient is not finite"),
    Mutant(Unnormalised(), "check_divergence", "normalise both sides with log_softmax"),
    Mutant(CrossEntropyAsDivergence(), "check_divergence", "equal distributions give .* instead of 0"),
    Mutant(WrongSign(), "check_divergence", "check the sign"),
    Mutant(Reversed(), "check_direction", "behaves as 'reverse'"),
    Mutant(HalfPrecision(), "check_float32_is_enough", "computes in bfloat16"),
    Mutant(Sharp(), "check_bf16_is_close", "amplifies small differences"),
    Mutant(WeightedTwice(weight=2.0), "check_weight_is_left_to_the_core", r"multiplies by self\.weight itself"),
    Mutant(InPlace(), "check_inputs_stay_unchanged", "in place"),
    Mutant(WrongPort(), "check_port", "leave it to the base class"),
    Mutant(WrongDenominator(), "check_port", "must be one of maskable_tokens"),
]
