"""The example plugin passes its own tests, a run that uses all of it included."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "plugins" / "tide-plugin-example"
SOURCES = sorted((EXAMPLE / "src").rglob("*.py"))


def test_its_own_tests_pass(run_project: Callable[..., Any]) -> None:
    done = run_project(EXAMPLE, "-m", "pytest", "-p", "no:cacheprovider", "-q")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_it_knows_the_contract_and_torch_alone(source: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add((node.module or "").partition(".")[0])
    assert imported <= {"__future__", "csv", "pathlib", "pydantic", "tide_specs", "torch", "typing"}


def test_the_project_names_its_hooks_module() -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["tide"] == {"tide-plugin-example": "tide_plugin_example"}
    assert {line.split(">")[0] for line in project["dependencies"]} == {"tide-distill", "torch"}
