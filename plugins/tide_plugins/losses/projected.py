"""Divergences between distributions where chunks begin, over outcomes that the alignment made comparable.

Shapes: c chunks, K outcomes. p is the student, q the teacher.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from tide_specs import Compares, Direction, DistributionLoss, Loss, Mix, StartContext

from .refusals import reverse_objectives

if TYPE_CHECKING:
    from torch import Tensor

with warnings.catch_warnings():
    # pydantic warns that options hide attributes of ``Loss``; here that is the purpose: the user chooses.
    warnings.filterwarnings("ignore", message='Field name "(direction|interpolated)"', category=UserWarning)

    class ProjectedKL(DistributionLoss):
        """KL divergence to the teacher's projected distribution, at the first token of each chunk.

        forward: T^2 * sum_k q log(q / p), mode-covering; reverse: T^2 * sum_k p log(p / q), mode-seeking. Needs an
        alignment that yields ``projected``.

        T works on outcomes: p^(1/T) and q^(1/T), each renormalised over the K outcomes. Outcomes gather several tokens (an
        image, the tail), so this is not the projection of tempered logits, and T > 1 lifts the tail as if it were one
        token; with equal vocabularies it is ``forward_kl`` and ``reverse_kl`` at that T. Hence T = 1 by default.

        ``interpolated`` is TIDAL between two vocabularies: the target is (1 - lambda) p + lambda q, held constant, with
        the run's ``interpolation``. It is mixed in probabilities rather than in logits (TIDE eq. 3), since the teacher gives
        zero to outcomes it cannot name: a logit of minus infinity would wipe out the student's share as well. Forward only.

        An outcome with q = 0 adds nothing to the forward divergence. In the reverse one it costs p log(p / 1.2e-38),
        where the mathematics says infinity.
        """

        name: Literal["projected_kl"] = "projected_kl"
        is_divergence: ClassVar[bool] = True

        direction: Literal["forward", "reverse"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
            default="forward", description="weigh by the teacher (forward, mode-covering) or the student (reverse)"
        )
        interpolated: bool = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
            default=False,
            description="move the target from the student to the teacher, by the run's interpolation (TIDAL)",
        )
        temperature: PositiveFloat = Field(
            default=1.0, description="both sides are raised to 1 / T over the outcomes; the loss is multiplied by T^2"
        )

        def per_start(self, student: Tensor, teacher: Tensor, at: StartContext) -> Tensor:
            """Log-probabilities and probabilities [c, K] -> divergences [c], in nats."""
            from .outcome_divergences import forward_kl, moved, reverse_kl, tempered

            log_p, q = tempered(student, teacher.detach(), self.temperature)
            if self.interpolated:
                q = moved(log_p, q, at.interpolation)
            found = forward_kl(q, log_p) if self.direction == "forward" else reverse_kl(log_p, q)
            return found * self.temperature**2

        def conflicts(self, mix: Mix) -> Iterable[str]:
            """Refuse reverse objectives beside an interpolated target, this one's own direction included."""
            return reverse_objectives(self.name, mix, own=self) if self.interpolated else ()


class UniversalLogit(DistributionLoss):
    """Universal logit distillation: sum_r |q_r - p_r| over probabilities sorted on each side (ULD, Boizard et al. 2024).

    Needs an alignment that yields ``ranked``. No token is compared with a token: the student learns how sure the teacher is,
    not of what, so that it needs cross-entropy beside it. At most 2; its gradient knows only which side is larger.
    """

    name: Literal["uld"] = "uld"
    compares: ClassVar[Compares] = "ranked"
    direction: ClassVar[Direction | None] = "symmetric"
    # Zero for equal probabilities, yet no smooth minimum: rounding there turns the gradient's sign, which is all it has.

    def per_start(self, student: Tensor, teacher: Tensor, at: StartContext) -> Tensor:
        """Log-probabilities and probabilities [c, K], by rank -> losses [c]."""
        return (teacher.detach() - student.exp()).abs().sum(1)

    def conflicts(self, mix: Mix) -> Iterable[str]:
        """Refuse to be alone: sorted probabilities name no token."""
        others = [
            loss for loss in mix.of("loss") if isinstance(loss, Loss) and loss.weight > 0 and loss.name != self.name
        ]
        if not others:
            yield (
                f"'{self.name}' compares sorted probabilities, which name no token, and no other loss of this run tells the "
                "student what to say; add cross_entropy"
            )
