"""How a check says that a component failed, or that there was nothing to check."""

from __future__ import annotations


class CheckFailed(AssertionError):
    """The component broke its contract; the message says what is wrong and what to do."""


class CheckSkipped(Exception):
    """The check does not apply to this component, or cannot run here; the message says why."""


def expect(condition: object, message: str) -> None:
    """Raise ``CheckFailed`` with ``message`` unless ``condition`` holds."""
    if not bool(condition):
        raise CheckFailed(message)
