"""What a family demands of a ``config.json``, in one line that names the setting. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tide_specs import CheckpointError

from .family import Settings


@dataclass(frozen=True, kw_only=True)
class Only:
    """Values of a setting that a native class can express, and what the published code takes for one left out."""

    values: tuple[Any, ...]
    default: Any


def refuse_others(title: str, settings: Settings, expressible: Mapping[str, Only]) -> None:
    """Raise ``CheckpointError`` for the first setting whose value no native class can express."""
    for name, only in expressible.items():
        found = settings.get(name, only.default)
        if found not in only.values:
            said = "" if name in settings else " (left out, so the published default)"
            wanted = " or ".join(repr(value) for value in only.values)
            raise CheckpointError(
                f"config.json: {name} is {found!r}{said}: no transformers class computes that for {title}; only "
                f"{name} {wanted} can be loaded"
            )


def required(title: str, settings: Settings, name: str) -> Any:
    """Return a setting that has no usable default. Raises ``CheckpointError`` where it is missing."""
    found = settings.get(name)
    if found is None:
        raise CheckpointError(f"config.json: {name} is missing; {title} has no default for it: download the file again")
    return found
