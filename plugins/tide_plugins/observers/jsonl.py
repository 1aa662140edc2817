"""The event log: one JSON object per lifecycle event, appended and flushed, so that nothing is lost when a tracker dies."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tide_specs import Observer


class JsonLines(Observer):
    """Append every lifecycle event to ``<run directory>/events.jsonl``.

    Each line is flushed as it is written. A resumed run goes on in the same file; the half-written last line of a run
    that was killed is removed first. Numbers that JSON lacks are written as ``"NaN"``, ``"Infinity"``, ``"-Infinity"``.
    """

    name: Literal["jsonl"] = "jsonl"
    file: str = Field(default="events.jsonl", description="name of the file inside the run's directory")
    steps: bool = Field(default=False, description="also write one line for every single optimizer step")

    def open(self, directory: str) -> object:
        """Return the listener that writes the file."""
        from .event_log import EventLog

        return EventLog(directory, self.file, steps=self.steps)
