"""Names that are on their way out: they warn until the version that removes them, and then fail the test suite.

In a module that renamed something::

    __getattr__ = deprecated_names(__name__, {"OldLoss": Deprecated(NewLoss, replacement="NewLoss", removed_in="1.0")})

The old name goes on working, and every use of it is announced. ``overdue`` lists the names that this version should no
longer have; a test asserts that there are none.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .component import Component


class TideDeprecationWarning(FutureWarning):
    """Something will be removed; the message says when, and what to use instead. Shown to users by default."""


@dataclass(frozen=True)
class Deprecated:
    """What an old name still stands for. ``removed_in``: the version of TIDE, such as ``0.4``, that has it no longer."""

    value: object
    replacement: str
    removed_in: str


_names: dict[str, Deprecated] = {}


def deprecated_names(module: str, names: Mapping[str, Deprecated]) -> Callable[[str], object]:
    """Return a module's ``__getattr__`` that answers old names with a warning."""
    for name, entry in names.items():
        parse_version(entry.removed_in)
        _names[f"{module}.{name}"] = entry

    def answer(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn(f"{module}.{name}", names[name].removed_in, names[name].replacement)
        return names[name].value

    return answer


def warn(what: str, removed_in: str, replacement: str, *, stacklevel: int = 2) -> None:
    """Warn that ``what`` is deprecated."""
    message = f"{what} is deprecated and will be removed in TIDE {removed_in}; use {replacement}"
    warnings.warn(message, TideDeprecationWarning, stacklevel=stacklevel + 1)


def overdue(current: str, components: Iterable[type[Component]] = ()) -> list[str]:
    """Return one sentence for each deprecated name or component that version ``current`` should no longer have.

    A component states the version in ``deprecated``, as the first number with a dot in its sentence.
    """
    found = {name: entry.removed_in for name, entry in _names.items()}
    for cls in components:
        if cls.deprecated is not None:
            found[f"component '{cls.component_name()}'"] = removal_version(cls)
    return [
        f"{name} was to be removed in {version}, and this is {current}: remove it"
        for name, version in found.items()
        if parse_version(current) >= parse_version(version)
    ]


def removal_version(cls: type[Component]) -> str:
    """Return the version that a deprecated component names; raise ``ValueError`` when it names none."""
    stated = re.search(r"\d+\.\d+(\.\d+)?", cls.deprecated or "")
    if stated is None:
        raise ValueError(
            f"{cls.__name__}.deprecated is {cls.deprecated!r}; name the version that removes it, such as 0.4"
        )
    return stated.group()


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, ``0.4.1`` or ``0.4.1.dev3``; raise ``ValueError`` when it is none."""
    numbers = re.match(r"\d+(\.\d+)*", text)
    if numbers is None:
        raise ValueError(f"{text!r} is no version; write it like 0.4")
    return tuple(map(int, numbers.group().split(".")))
