"""Decoding through a window that slides over the answer, as WeDLM does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from .masked import MaskedSampler

if TYPE_CHECKING:
    from .policies import Policy


class WindowSampler(MaskedSampler):
    """Fill in what is certain within a window that begins at the first mask token (WeDLM's streaming decoding).

    A step commits every position of the window whose entropy plus ``distance_penalty`` times its distance from the first
    mask token lies below ``entropy_threshold``, or else the position where that sum is smallest. The penalty favours the
    front, so that a finished text without gaps forms early.

    Models with blocks decode one block after the other: the window ends where the block ends, and the cache grows by whole
    blocks, since a block's tokens may see each other and appending fewer would cost a pass of its own. A bidirectional
    model's window slides over the whole answer.
    """

    name: Literal["window"] = "window"

    window: PositiveInt = Field(default=16, description="positions of the window")
    entropy_threshold: NonNegativeFloat = Field(
        default=0.4, description="nats below which a position is committed; 0: one position per step"
    )
    distance_penalty: NonNegativeFloat = Field(
        default=0.02, description="nats added per position behind the first mask token"
    )

    def policy(self) -> Policy:
        """Return the window's policy."""
        from .window_policy import WindowPolicy

        return WindowPolicy(self)
