"""A component that swallows misspelt options."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from tide_specs import SelfLoss, hookimpl


class Fine(SelfLoss):
    """A loss that is in order."""

    name: Literal["fine"] = "fine"
    model_config = ConfigDict(extra="allow")

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    return [Fine]
