"""A plugin that takes its time, and works."""

from __future__ import annotations

import time
from typing import Any, Literal

from tide_specs import SelfLoss, hookimpl

time.sleep(0.1)


class Fine(SelfLoss):
    """A loss that is in order."""

    name: Literal["slow_loss"] = "slow_loss"

    def per_token(self, student: Any, at: Any) -> Any:
        return student.sum(1)


@hookimpl
def tide_losses() -> Any:
    return [Fine]
