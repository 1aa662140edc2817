"""What the registry's fixtures are: shared by its conftest and its tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tide_core.registry import Registry

PLUGINS = Path(__file__).parents[1] / "data" / "bad_plugins"
Install = Callable[..., str]
Discover = Callable[..., tuple[Registry, list[str]]]
