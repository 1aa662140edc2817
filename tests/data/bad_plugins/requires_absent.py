"""A component that needs a module that is not installed: listed, but unavailable."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from tide_specs import SelfLoss, hookimpl


class Fine(SelfLoss):
    """A loss that is in order."""

    name: Literal["demanding"] = "demanding"
    requires: ClassVar[tuple[str, ...]] = ("package_of_an_extra",)

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    return [Fine]
