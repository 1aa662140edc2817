"""The second of two plugins that offer one name."""

from __future__ import annotations

from typing import Any, Literal

from tide_specs import SelfLoss, hookimpl


class Two(SelfLoss):
    """A loss that is in order."""

    name: Literal["twin"] = "twin"

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    return [Two]
