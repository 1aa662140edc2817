"""TIDE finds the installed plugin, and one run uses everything that it offers."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TIDE = "import sys; from tide_core.cli.main import main; sys.exit(main())"


def tide(*arguments: str, cwd: Path) -> str:
    """Run the command ``tide`` and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", TIDE, *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_uses_every_component(tmp_path: Path) -> None:
    tide("run", str(ROOT / "examples" / "run.yaml"), "--set", f"output={tmp_path / 'run'}", cwd=tmp_path)
    (table,) = (tmp_path / "run").rglob("metrics.csv")
    with table.open(encoding="utf-8") as file:
        logged = {name for _, name, _ in csv.reader(file)}
    assert {"loss", "loss/cross_entropy", "loss/example_gap"} <= logged


def test_the_plugin_is_listed(tmp_path: Path) -> None:
    listed = tide("components", "loss", cwd=tmp_path)
    assert "example_gap" in listed
