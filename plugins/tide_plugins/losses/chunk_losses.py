"""Losses that compare how likely teacher and student find the same spans of text, whatever their vocabularies.

Shapes: c chunks. ps, pt: likelihoods exp(LP / T) of a chunk under student and teacher.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tide_specs import ChunkContext, Direction, Mix

from .chunk_options import BernoulliChunkLoss
from .refusals import reverse_objectives

if TYPE_CHECKING:
    from torch import Tensor


class Calm(BernoulliChunkLoss):
    """CALM, forward: cross-entropy of the student's chunk likelihood under the teacher's (TIDE eq. 8-9).

    loss = -(pt log ps + (1 - pt) log(1 - ps)), smallest at ps = pt, where it equals the teacher's entropy (not zero).
    Its gradient in ps grows without bound towards 0 and 1. In log space it is bounded in the logits: dps = ps dx tames the
    first, and the second meets dLP / dlogit <= 1 - p.
    """

    name: Literal["calm"] = "calm"
    direction: ClassVar[Direction | None] = "forward"

    def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
        """Log-likelihoods [c] of both sides -> losses [c]."""
        from .bernoulli import cross_entropy, log_odds_terms

        target = log_odds_terms(teacher.detach(), self.temperature, self.clamp)
        return cross_entropy(target, log_odds_terms(student, self.temperature, self.clamp))


class ReverseCalm(BernoulliChunkLoss):
    """Reverse CALM, mode-seeking, exactly as published (TIDE eq. 11).

    loss = -(ps log pt + (1 - ps) log(1 - pt)). The gradient in ps, -log(pt / (1 - pt)), depends on the teacher alone and is
    bounded. The paper calls this equivalent to KL(ps || pt) between Bernoullis, but it lacks the student's entropy: being linear
    in ps it is smallest at ps = 1 where pt > 0.5 (the likelihood exceeds 0.5^T) and at ps = 0 elsewhere; pt = .7 drives ps
    to 1, not to .7. The true divergence is ``bernoulli_kl`` with direction reverse.
    """

    name: Literal["reverse_calm"] = "reverse_calm"
    direction: ClassVar[Direction | None] = "reverse"

    def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
        """Log-likelihoods [c] of both sides -> losses [c]."""
        from .bernoulli import cross_entropy, log_odds_terms

        weighing = log_odds_terms(student, self.temperature, self.clamp)
        return cross_entropy(weighing, log_odds_terms(teacher.detach(), self.temperature, self.clamp))


class CalmTidal(BernoulliChunkLoss):
    """CALM towards a target that moves from the student to the teacher (TIDE eq. 10).

    p_mix = (1 - lambda) ps + lambda pt, held constant;  loss = -(p_mix log ps + (1 - p_mix) log(1 - ps)).
    lambda comes from the run's ``interpolation``. Not to be combined with a reverse objective (Appendix C).
    """

    name: Literal["calm_tidal"] = "calm_tidal"
    direction: ClassVar[Direction | None] = "forward"
    interpolated: ClassVar[bool] = True

    def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
        """Log-likelihoods [c] of both sides -> losses [c]."""
        from .bernoulli import log_odds_terms

        log_s, log_not_s = log_odds_terms(student, self.temperature, self.clamp)
        log_t, log_not_t = log_odds_terms(teacher.detach(), self.temperature, self.clamp)
        share = at.interpolation
        mixed = (1 - share) * log_s.detach().exp() + share * log_t.exp()
        mixed_not = (1 - share) * log_not_s.detach().exp() + share * log_not_t.exp()
        return -(mixed * log_s + mixed_not * log_not_s)

    def conflicts(self, mix: Mix) -> Iterable[str]:
        """Refuse reverse objectives in the same run."""
        return reverse_objectives(self.name, mix)


with warnings.catch_warnings():
    # pydantic warns that the option hides ``Loss.direction``; here that is the purpose: the user chooses the direction.
    warnings.filterwarnings("ignore", message='Field name "direction"', category=UserWarning)

    class BernoulliKL(BernoulliChunkLoss):
        """The true KL divergence between the Bernoullis of chunk likelihoods, zero exactly at ps = pt.

        forward: pt log(pt / ps) + (1 - pt) log((1 - pt) / (1 - ps)); its gradient is that of ``calm``.
        reverse: ps log(ps / pt) + (1 - ps) log((1 - ps) / (1 - pt)), i.e. ``reverse_calm`` minus the student's entropy,
        which the published form lacks: pt = .7 leads to ps = .7 in both directions.
        """

        name: Literal["bernoulli_kl"] = "bernoulli_kl"
        is_divergence: ClassVar[bool] = True
        direction: Literal["forward", "reverse"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
            default="forward", description="weigh by the teacher (forward, mode-covering) or the student (reverse)"
        )

        def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
            """Log-likelihoods [c] of both sides -> divergences [c]."""
            from .bernoulli import divergence, log_odds_terms

            s = log_odds_terms(student, self.temperature, self.clamp)
            t = log_odds_terms(teacher.detach(), self.temperature, self.clamp)
            return divergence(t, s) if self.direction == "forward" else divergence(s, t)
