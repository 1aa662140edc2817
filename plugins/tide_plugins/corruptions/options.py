"""The options of every corruption that hides whole chunks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tide_specs import Corruption


class UnitCorruption(Corruption):
    """Base of the corruptions whose units are chunks and single tokens outside chunks; the time of a unit is its first token's."""

    masking: Literal["chunk", "token"] = Field(
        default="chunk",
        description="chunk: one draw per chunk, hidden with probability 1 - alpha(t); token: tokens are drawn on their own "
        "and a chunk is hidden when any of them is, as published code does, which hides more than 1 - alpha(t)",
    )
    correct_weight: bool = Field(
        default=True,
        description="for masking 'token': weigh a chunk of n student tokens by n alpha^(n-1) (-alpha') / (1 - alpha^n), "
        "which keeps the likelihood bound; false: by w(t), as published code does",
    )
