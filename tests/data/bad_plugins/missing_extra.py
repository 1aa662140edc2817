"""A plugin that needs a package of one of its extras."""

from __future__ import annotations

from typing import Any, Literal

import package_of_an_extra  # type: ignore[import-not-found]

from tide_specs import SelfLoss, hookimpl


class Fine(SelfLoss):
    """A loss that is in order."""

    name: Literal["fine"] = "fine"

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    return [Fine, package_of_an_extra]
