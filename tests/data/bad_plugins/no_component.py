"""A class that is no component at all."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from tide_specs import hookimpl


class Fine(BaseModel):
    """Only a model."""


@hookimpl
def tide_losses() -> Any:
    return [Fine]
