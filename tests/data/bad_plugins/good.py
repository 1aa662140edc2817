"""A plugin in order."""

from __future__ import annotations

from typing import Any, Literal

from tide_specs import SelfLoss, hookimpl

tide_contract = "1.0"


class Fine(SelfLoss):
    """A loss that is in order."""

    name: Literal["good_loss"] = "good_loss"

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    return [Fine]
