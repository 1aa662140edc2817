"""How much code each component takes, as the README states it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "tide_plugin_example"
FILES = {
    "loss": ["loss.py"],
    "schedule": ["schedule.py"],
    "alignment": ["alignment.py"],
    "attention": ["attention.py"],
    "architecture": ["architecture.py", "network.py"],
    "observer": ["observer.py"],
}


def lines_beside_imports(path: Path) -> int:
    """Count the lines of a module that are not blank, not import statements and not the module's docstring."""
    source = path.read_text(encoding="utf-8")
    left_out: set[int] = set()
    body = ast.parse(source).body
    for position, node in enumerate(body):
        docstring = position == 0 and isinstance(node, ast.Expr)
        guarded = isinstance(node, ast.If) and all(
            isinstance(inner, ast.Import | ast.ImportFrom) for inner in node.body
        )
        if docstring or guarded or isinstance(node, ast.Import | ast.ImportFrom):
            left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(1 for number, line in lines if line.strip() and number not in left_out)


def measured() -> dict[str, int]:
    """Kind -> lines, for the modules that are here."""
    present = {kind: [SOURCES / name for name in names] for kind, names in FILES.items()}
    return {
        kind: sum(map(lines_beside_imports, paths))
        for kind, paths in present.items()
        if all(p.is_file() for p in paths)
    }


def test_the_readme_states_what_is_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    stated = {kind: int(count) for kind, count in re.findall(r"^\| (\w+) \|.*\| (\d+) \|$", readme, re.MULTILINE)}
    assert stated == measured()


def test_a_loss_takes_ten_lines_and_a_family_forty() -> None:
    counts = measured()
    assert counts.get("loss", 0) <= 10
    assert counts.get("architecture", 0) <= 40
