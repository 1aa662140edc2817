"""A plugin whose hook yields a class and then raises."""

from __future__ import annotations

from typing import Any, Literal

from tide_specs import SelfLoss, hookimpl


class Fine(SelfLoss):
    """A loss that is in order."""

    name: Literal["fine"] = "fine"

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    yield Fine
    raise ValueError("ran out of losses")
