"""Schedules and interpolations that are wrong on purpose."""

from __future__ import annotations

import math

from kit_correct import KitLinear, KitRamp
from kit_mutation import Mutant


class MaskingProbability(KitLinear):
    """alpha is the masking probability."""

    def alpha(self, t):
        return t


class NeverAllMasked(KitLinear):
    """alpha(1) = 0.5."""

    def alpha(self, t):
        return 1 - t / 2


class Negative(KitLinear):
    """Leaves [0, 1]."""

    def alpha(self, t):
        return 1 - t + 0.3 * (2 * math.pi * t).sin()


class Wavy(KitLinear):
    """Rises in between."""

    def alpha(self, t):
        return 1 - t + 0.1 * (4 * math.pi * t).sin()


class PositiveDerivative(KitLinear):
    """Sign forgotten."""

    def alpha_prime(self, t):
        return t * 0 + 1


class WrongDerivative(KitLinear):
    """Derivative of another schedule."""

    def alpha_prime(self, t):
        return -2 * t


class WrongWeight(KitLinear):
    """Weight of a schedule with another slope."""

    def weight(self, t):
        return 2 / t


class InfiniteWeight(KitLinear):
    """Cosine without a closed form: 1 - alpha rounds to 0."""

    def alpha(self, t):
        return (math.pi / 2 * t).cos()

    def alpha_prime(self, t):
        return -math.pi / 2 * (math.pi / 2 * t).sin()

    def weight(self, t):
        return -self.alpha_prime(t) / (1 - self.alpha(t))


class ImpreciseWeight(InfiniteWeight):
    """An epsilon in the denominator hides the infinity, not the cancellation."""

    def weight(self, t):
        return -self.alpha_prime(t) / (1 - self.alpha(t) + 1e-12)


class ScalarDerivative(KitLinear):
    """A number instead of a tensor."""

    def alpha_prime(self, t):
        return -1.0


class BatchWeight(KitLinear):
    """Normalises the weights over the batch."""

    def weight(self, t):
        return (1 / t) * t.numel() / (1 / t).cumsum(-1)


class EmptyInterval(KitLinear):
    """Bounds swapped."""

    def interval(self):
        return (0.8, 0.2)


class BeyondOne(KitRamp):
    """Lambda above 1."""

    def weight(self, progress, t):
        return 1.5 * progress * (1 - t)


class ScalarLambda(KitRamp):
    """One number for all times."""

    def weight(self, progress, t):
        return t.new_tensor(progress)


class BatchLambda(KitRamp):
    """Relative to the largest time of the batch."""

    def weight(self, progress, t):
        return progress * (1 - t / t.max())


class InPlaceLambda(KitRamp):
    """Overwrites t."""

    def weight(self, progress, t):
        return t.mul_(-1).add_(1) * progress


class NoisyLambda(KitRamp):
    """Random."""

    def weight(self, progress, t):
        import torch

        return torch.rand_like(t)


MUTANTS = [
    Mutant(MaskingProbability(), "check_end_points", r"alpha\(0\) is 0"),
    Mutant(MaskingProbability(), "check_monotone", "Is it the masking probability instead"),
    Mutant(NeverAllMasked(), "check_end_points", r"alpha\(1\) is 0\.5"),
    Mutant(Negative(), "check_end_points", r"leaves \[0, 1\]"),
    Mutant(Wavy(), "check_monotone", "alpha rises at t ="),
    Mutant(PositiveDerivative(), "check_monotone", "check its sign"),
    Mutant(WrongDerivative(), "check_derivative", r"alpha_prime\(0\.\d+\) is .* correct the derivative"),
    Mutant(WrongWeight(), "check_weight", "Correct the closed form"),
    Mutant(InfiniteWeight(), "check_weight_is_finite", "override weight with a closed form"),
    Mutant(ImpreciseWeight(), "check_weight_is_finite", "loses its digits in float32"),
    Mutant(ScalarDerivative(), "check_elementwise", "does not keep the shape and dtype"),
    Mutant(BatchWeight(), "check_elementwise", "mixes elements of t"),
    Mutant(EmptyInterval(), "check_interval", "0 <= low < high <= 1"),
    Mutant(BeyondOne(), "check_range", "must stay in"),
    Mutant(ScalarLambda(), "check_shape", r"returns \(\); return a tensor like t"),
    Mutant(BatchLambda(), "check_elementwise", "do not normalise over the batch"),
    Mutant(InPlaceLambda(), "check_repeatable", "changes t in place|give different weights"),
    Mutant(NoisyLambda(), "check_repeatable", "give different weights"),
]
