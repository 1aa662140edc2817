"""The house has walls: plugins never import the core, the core never imports plugins, discovery stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tide_core.registry import BUILTIN

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "plugins/tide_plugins": {"tide_core"},
    "tide_core": {"tide_plugins"},
    "specs/tide_specs": {"tide_core", "tide_plugins"},
}
HEAVY = ("torch", "transformers", "mlflow", "datasets", "accelerate", "xformers", "matplotlib")


def imported(path: Path) -> set[str]:
    """Top-level names of the packages that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_import_crosses_a_wall(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    crossing = {str(file.relative_to(ROOT)): found for file in files if (found := imported(file) & FORBIDDEN[folder])}
    assert crossing == {}


def loaded_after(code: str, names: tuple[str, ...]) -> list[str]:
    """Run ``code`` in a fresh interpreter; return which of ``names`` it imported."""
    report = f"{code}\nimport sys\nprint('loaded', *[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.strip().splitlines()[-1].split()[1:]


def test_the_contract_imports_nothing_heavy() -> None:
    assert loaded_after("import tide_specs", (*HEAVY, "numpy")) == []


def test_discovery_imports_nothing_heavy() -> None:
    code = "from tide_core.registry import Registry\nRegistry.discover(environment={'TIDE_LOAD_PLUGINS': ''})"
    assert loaded_after(code, HEAVY) == []


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_neither_pydantic_nor_rich_nor_anything_heavy(arguments: list[str]) -> None:
    code = f"from tide_core.cli.main import call\nassert call({arguments!r}) == 0"
    assert loaded_after(code, (*HEAVY, "pydantic", "pluggy", "yaml", "numpy", "rich", "tide_specs")) == []


def test_the_builtin_plugins_are_exactly_the_packages_with_hooks() -> None:
    folders = {
        f"tide_plugins.{init.parent.name}"
        for init in (ROOT / "plugins" / "tide_plugins").glob("*/__init__.py")
        if "@hookimpl" in init.read_text(encoding="utf-8")
    }
    assert folders == set(BUILTIN)
