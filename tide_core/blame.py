"""Errors inside a component stop the run and name the component and its plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tide_specs import Component, PluginError, TideError

Describe = Callable[[Component], str]


def describe(component: Component) -> str:
    """Return ``loss 'reverse_calm'``; a registry adds the plugin and its distribution."""
    return f"{component.kind} '{component.name}'"


@contextmanager
def blame(component: Component, doing: str, describe: Describe = describe) -> Iterator[None]:
    """Turn an unexpected exception into a ``PluginError`` that names the component; TIDE's own errors pass.

    Both remember the innermost component that was at work, in ``raised_by``.
    """
    try:
        yield
    except TideError as error:
        error.raised_by = error.raised_by or component
        raise
    except Exception as error:
        named = PluginError(f"{describe(component)} failed {doing}: {type(error).__name__}: {error}")
        named.raised_by = component
        raise named from error
