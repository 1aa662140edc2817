"""A component that leaves out its method."""

from __future__ import annotations

from typing import Any, Literal

from tide_specs import SelfLoss, hookimpl


class Fine(SelfLoss):
    """A loss that is in order."""

    name: Literal["fine"] = "fine"


@hookimpl
def tide_losses() -> Any:
    return [Fine]
