"""A component without a docstring."""

from __future__ import annotations

from typing import Any, Literal

from tide_specs import SelfLoss, hookimpl


class Fine(SelfLoss):
    name: Literal["fine"] = "fine"

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    return [Fine]
