"""A plugin that forgets to mark its hook."""

from __future__ import annotations

from typing import Any, Literal

from tide_specs import SelfLoss


class Fine(SelfLoss):
    """A loss that is in order."""

    name: Literal["fine"] = "fine"

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


def tide_losses() -> Any:
    return [Fine]
