"""A plugin project that is importable and visible as an installed distribution, without installing anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_project(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python in a process to which a project looks installed: entry point, version, import path."""

    def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        (package,) = [path for path in (project / "src").iterdir() if (path / "__init__.py").is_file()]
        name = package.name.replace("_", "-")
        record = tmp_path / "site" / f"{package.name}-0.1.0.dist-info"
        record.mkdir(parents=True, exist_ok=True)
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        (record / "entry_points.txt").write_text(f"[tide]\n{name} = {package.name}\n")
        path = os.pathsep.join([str(record.parent), str(project / "src"), str(ROOT)])
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=project,
            check=False,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        )

    return run
