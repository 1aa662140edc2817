"""Tiny real runs, made once: one without a teacher, one across tokenizers, and a recipe of two rounds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tide_core.cli.main import call
from tide_core.registry import Registry

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
for folder in ("docs", "run"):  # the browser, and the tiny runs
    sys.path.append(str(Path(__file__).parents[1] / folder))


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """A folder with the runs ``plain``, ``tide`` and ``sdtt``, and their run files."""
    from compared_runs import make_runs

    folder = tmp_path_factory.mktemp("runs")
    make_runs(folder, registry)
    return folder


@pytest.fixture
def tide(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """``tide("compare", ...)``, beside the runs -> exit code, stdout, stderr."""
    monkeypatch.chdir(made)

    def runner(*arguments: str) -> tuple[int, str, str]:
        code = call(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runner
