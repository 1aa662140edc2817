"""A registry of toy components and a loader of run files written as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from config_toys import TOY, Load

from tide_core.config import LoadedRun, load_run
from tide_core.registry import Registry


@pytest.fixture(scope="session")
def toys() -> Registry:
    return Registry.discover([str(TOY)], environment={"TIDE_LOAD_PLUGINS": ""}, builtin=())


@pytest.fixture
def load(toys: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """``load(text, overrides)`` writes ``run.yaml`` into the current folder and loads it."""
    monkeypatch.chdir(tmp_path)

    def loader(text: str, overrides: Sequence[str] = ()) -> LoadedRun:
        Path("run.yaml").write_text(text, encoding="utf-8")
        return load_run("run.yaml", overrides, registry=toys)

    return loader
