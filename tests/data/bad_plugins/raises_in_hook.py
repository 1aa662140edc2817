"""A plugin whose hook raises."""

from __future__ import annotations

from typing import Any

from tide_specs import hookimpl


@hookimpl
def tide_losses() -> Any:
    raise KeyError("weights")
