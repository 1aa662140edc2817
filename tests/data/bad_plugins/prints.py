"""A plugin that prints when imported, and works."""

from __future__ import annotations

from typing import Any, Literal

from tide_specs import SelfLoss, hookimpl

print("hello from a plugin")


class Fine(SelfLoss):
    """A loss that is in order."""

    name: Literal["printed"] = "printed"

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    print("and from its hook")
    return [Fine]
