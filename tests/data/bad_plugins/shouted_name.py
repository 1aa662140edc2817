"""A component whose name no run file would write."""

from __future__ import annotations

from typing import Any, Literal

from tide_specs import SelfLoss, hookimpl


class Fine(SelfLoss):
    """A loss that is in order."""

    name: Literal["FINE-LOSS"] = "FINE-LOSS"

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    return [Fine]
