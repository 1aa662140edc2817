"""A plugin that implements a lifecycle hook in its module."""

from __future__ import annotations

from typing import Any

from tide_specs import hookimpl


@hookimpl
def tide_step_finished(event: Any) -> None:
    return None
