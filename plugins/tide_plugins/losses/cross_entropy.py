"""Cross-entropy of masked diffusion: the student learns from the data alone.

Shapes: n masked positions, V vocabulary columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tide_specs import Denominator, SelfLoss, TokenContext

if TYPE_CHECKING:
    from torch import Tensor


class WeightedCrossEntropy(SelfLoss):
    """Base of the losses that follow the data: how positions are weighted, and what their sum is divided by."""

    normalisation: Literal["token", "sequence", "batch"] = Field(
        default="token", description="divide by maskable tokens, per sequence by its own, or by the number of sequences"
    )
    weighting: Literal["schedule", "none"] = Field(
        default="schedule", description="multiply each position by w(t), as the likelihood bound asks, or not at all"
    )

    @property
    def denominator(self) -> Denominator:
        """Maskable tokens or sequences, by ``normalisation``."""
        return "maskable_tokens" if self.normalisation == "token" else "sequences"

    def per_token(self, student: Tensor, at: TokenContext) -> Tensor:
        """Student logits [n, V] -> weighted losses [n], in nats."""
        losses = self.bare(student, at)
        if self.weighting == "schedule":
            losses = losses * at.schedule_weight
        return losses / at.maskable_in_sequence if self.normalisation == "sequence" else losses

    def bare(self, student: Tensor, at: TokenContext) -> Tensor:
        """Student logits [n, V] -> losses [n] before any weight, in nats."""
        raise NotImplementedError


class CrossEntropy(WeightedCrossEntropy):
    """Masked-diffusion cross-entropy: the sum over masked positions of w(t) * -log p_S(x_i | x_t).

    With the schedule's weight w(t) = -alpha'(t) / (1 - alpha(t)) and token normalisation, its mean over t is a bound on the
    negative log-likelihood per maskable token. ``normalisation`` says what the sum is divided by:

    - ``token``: maskable tokens of the effective batch, so that every token counts alike;
    - ``sequence``: each sequence by its own maskable tokens, then the number of sequences, so that every sequence counts alike;
    - ``batch``: the number of sequences.

    ``weighting: none`` sets w = 1: a mean over masked tokens up to the masking ratio, no bound, smaller gradient variance.
    """

    name: Literal["cross_entropy"] = "cross_entropy"
    likelihood_only: ClassVar[bool] = True

    def bare(self, student: Tensor, at: TokenContext) -> Tensor:
        """Student logits [n, V] -> negative log-likelihoods [n], in nats."""
        return -at.log_likelihood(student)
