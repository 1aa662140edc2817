"""A loss: the squared Hellinger distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tide_specs import Direction, TokenContext, TokenLoss, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class Hellinger(TokenLoss):
    """Squared Hellinger distance, 1 - sum_v sqrt(p q): symmetric, between 0 and 1."""

    name: Literal["hellinger"] = "hellinger"
    direction: ClassVar[Direction | None] = "symmetric"
    is_divergence: ClassVar[bool] = True

    def per_token(self, student: Tensor, teacher: Tensor, at: TokenContext) -> Tensor:
        """Logits [n, V] of both sides -> distances [n]."""
        return 1 - ((student.log_softmax(-1) + teacher.detach().log_softmax(-1)) / 2).exp().sum(-1)


@hookimpl
def tide_losses() -> list[type[Hellinger]]:
    """Contribute the loss."""
    return [Hellinger]
