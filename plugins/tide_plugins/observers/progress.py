"""The progress display: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from tide_specs import Observer


class Progress(Observer):
    """Show step, loss terms, speed and time left; on a terminal as a live bar, otherwise as one line per log interval."""

    name: Literal["progress"] = "progress"
    style: Literal["auto", "live", "plain"] = Field(
        default="auto", description="live bar or plain lines; auto: live when standard error is a terminal"
    )
    refresh_per_second: PositiveFloat = Field(default=4.0, description="redraws of the live bar in a second")

    def open(self, directory: str) -> object:
        """Return the display."""
        from .progress_display import open_display

        return open_display(self.style, self.refresh_per_second)
