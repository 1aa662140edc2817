"""A loss that compares nothing."""

from __future__ import annotations

from typing import Any, Literal

from tide_specs import Loss, hookimpl


class Fine(Loss):
    """A loss that is in order."""

    name: Literal["fine"] = "fine"

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    return [Fine]
