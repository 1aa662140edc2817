"""Installs fixture plugins as real distributions: a module and a dist-info folder on a temporary path."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from registry_types import PLUGINS, Discover, Install

from tide_core.registry import PluginWarning, Registry


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install("prints")`` -> the name of an installed distribution ``tide-prints`` 1.2 with entry point ``prints``."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    modules: list[str] = []

    def installer(plugin: str, *, value: str | None = None, requires: Sequence[str] = (), source: str = "") -> str:
        module = f"fixture_{plugin}"
        if source:
            (site / f"{module}.py").write_text(source)
        else:
            found = next(PLUGINS.glob(f"{plugin}.*"))
            shutil.copy(found, site / f"{module}.py")
        modules.append(module)
        info = site / f"tide_{plugin}-1.2.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: tide-{plugin}", "Version: 1.2"]
        (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires)]) + "\n")
        (info / "entry_points.txt").write_text(f"[tide]\n{plugin} = {value or module}\n")
        return f"tide-{plugin}"

    yield installer
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def discover() -> Discover:
    """Discover without the bundled plugins; returns the registry and the warnings it gave."""

    def discoverer(
        *, only: str | None = None, block: str | None = None, **options: object
    ) -> tuple[Registry, list[str]]:
        environment = {"TIDE_LOAD_PLUGINS": only, "TIDE_BLOCK_PLUGINS": block}
        given = {key: value for key, value in environment.items() if value is not None}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            registry = Registry.discover(**{"environment": given, "builtin": (), **options})  # type: ignore[arg-type]
        return registry, [str(each.message) for each in caught if issubclass(each.category, PluginWarning)]

    return discoverer
