"""KL over the teacher's most likely tokens and one outcome for all others.

Shapes: n masked positions, V shared vocabulary columns, k tokens. p is the teacher, q the student.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from tide_specs import TokenContext, TokenLoss

from .divergences import kl

if TYPE_CHECKING:
    from torch import Tensor

with warnings.catch_warnings():
    # pydantic warns that the option hides ``Loss.direction``; here that is the purpose: the user chooses the direction.
    warnings.filterwarnings("ignore", message='Field name "direction"', category=UserWarning)

    class TopKKL(TokenLoss):
        """KL over k + 1 outcomes: the teacher's k most likely tokens, and all the others together.

        forward: T^2 * sum p log(p / q); reverse: T^2 * sum q log(q / p). The mass outside the k tokens is compared as one
        number and not renormalised away, so a student cannot hide there. At T = 1 it never exceeds the KL over the whole
        vocabulary. T works on the k + 1 outcomes, since the tail at another T cannot be known from the k tokens: a cache that
        holds them gives the number that the teacher gives.
        """

        name: Literal["top_k_kl"] = "top_k_kl"
        is_divergence: ClassVar[bool] = True

        direction: Literal["forward", "reverse"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
            default="forward", description="weigh by the teacher (forward, mode-covering) or the student (reverse)"
        )
        k: PositiveInt = Field(default=64, description="how many of the teacher's most likely tokens are told apart")
        temperature: PositiveFloat = Field(
            default=1.0, description="both sides are raised to 1 / T over the outcomes; the loss is multiplied by T^2"
        )

        @property
        def reads_top_k(self) -> int | None:
            """``k``."""
            return self.k

        def per_token(self, student: Tensor, teacher: Tensor, at: TokenContext) -> Tensor:
            """Logits [n, V] of both sides -> T^2 times the divergence [n], in nats."""
            known = teacher.detach()
            best = known.topk(min(self.k, known.shape[1]), dim=1).indices
            log_q, log_p = ((_gathered(side, best) / self.temperature).log_softmax(1) for side in (student, known))
            found = kl(log_p, log_q) if self.direction == "forward" else kl(log_q, log_p)
            return found * self.temperature**2


def _gathered(logits: Tensor, best: Tensor) -> Tensor:
    """Logits [n, V] -> log-probabilities [n, k + 1] of the columns ``best`` [n, k] and of all others together."""
    import torch

    log_p = logits.log_softmax(1)
    if best.shape[1] == log_p.shape[1]:
        return log_p.gather(1, best)
    others = log_p.scatter(1, best, float("-inf")).logsumexp(1, keepdim=True)
    return torch.cat([log_p.gather(1, best), others], 1)
