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
    """Turn an unexpected exception into a ``PluginError`` that names the component; TIDE's own errors pass."""
    try:
        yield
    except TideError:
        raise
    except Exception as error:
        raise PluginError(f"{describe(component)} failed {doing}: {type(error).__name__}: {error}") from error
