"""Every example in the documentation is extracted and run, or held against the code that it speaks of."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml
from docs_pages import DOCS, FENCE, ROOT, Block, all_blocks, blocks, expanded, pages, shown_files, title

from tide_core.cli.main import call, cli
from tide_core.compatibility import check_mix
from tide_core.config import load_run
from tide_core.matrix.definition import load_matrix
from tide_core.matrix.schema import MatrixFile
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_specs import COMPONENT_HOOKS, Component
from tide_specs.testing import run_checks

PLUGIN = ROOT / "plugins" / "tide-plugin-example"
BASE = {
    "teacher": {"name": "one_layer"},
    "student": {"name": "one_layer"},
    "data": {"name": "python_stdlib", "max_length": 64},
    "observers": [],
}
"""The run that a fragment in the documentation is put into."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The bundled components, those that the pages define and those of the example plugin."""
    sys.path.append(str(PLUGIN / "src"))
    sources = {f"example_of_{kind}": example(kind) for kind in COMPONENT_HOOKS}
    sources["example_of_the_tutorial"] = "from tide_plugin_example import *\n"
    sources["example_of_the_plugin_page"] = joined(DOCS / "plugins" / "index.md")
    files = [tmp_path_factory.mktemp("plugin") / f"{name}.py" for name in sources]
    for file in files:
        file.write_text(sources[file.stem], encoding="utf-8")
    found = Registry.discover(list(map(str, files)), environment={"TIDE_LOAD_PLUGINS": ""})
    assert [f"{record}: {record.skipped}" for record in found.skipped] == []
    yield found
    sys.path.remove(str(PLUGIN / "src"))


def example(kind: str) -> str:
    """The plugin that a kind's page shows under its heading ``Example``."""
    shown = expanded(DOCS / "kinds" / f"{kind}.md").split("## Example", 1)[1]
    found = FENCE.search(shown)
    assert found is not None and found.group(1) == "python"
    return found.group(2)


def joined(page: Path) -> str:
    """All Python that a page shows itself, in order."""
    return "\n".join(block.text for block in blocks(page, "python"))


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", [page for page in pages() if joined(page)], ids=title)
def test_python_on_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / f"page_{page.stem.replace('-', '_').lower()}.py"
    path.write_text(joined(page), encoding="utf-8")
    imported(path)


@pytest.mark.parametrize("name", ["README.md", "docs/plugins/index.md"])
def test_a_plugin_on_a_page_keeps_the_contract(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"plugin_of_{Path(name).stem.lower()}.py"
    path.write_text(joined(ROOT / name), encoding="utf-8")
    (record,) = [plugin for plugin in Registry.discover([str(path)]).plugins if plugin.name == path.stem]
    assert (record.skipped, record.notes) == (None, ())
    for cls in record.components:
        assert faults(cls()) == {}


def test_the_first_plugin_is_the_same_everywhere() -> None:
    (plugin,) = blocks(ROOT / "README.md", "python")
    assert plugin.text in (DOCS / "index.md").read_text(encoding="utf-8")


def faults(component: Component) -> dict[str, str]:
    return {result.check: result.message for result in run_checks(component) if result.status == "failed"}


@pytest.mark.parametrize("kind", COMPONENT_HOOKS)
def test_each_kind_has_an_example_that_a_run_file_can_name(kind: str, registry: Registry) -> None:
    (record,) = [plugin for plugin in registry.plugins if plugin.name == f"example_of_{kind}"]
    ((found, name),) = record.offers
    assert found == kind
    assert record.notes == ()
    assert any(name in block.text for block in blocks(DOCS / "kinds" / f"{kind}.md", "yaml"))


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=str)
def test_a_run_file_is_valid(block: Block, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = yaml.safe_load(block.text)
    if shown.keys() & (MatrixFile.model_fields.keys() - RunConfig.model_fields.keys()):
        require_matrix(shown, registry)
        return
    whole = shown if "student" in shown and "data" in shown else {**BASE, **shown}
    Path("run.yaml").write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    loaded = load_run("run.yaml", registry=registry)
    errors = [p for p in check_mix(loaded.config, registry, loaded.source) if p.severity == "error"]
    assert [str(problem) for problem in errors] == []


def require_matrix(shown: dict[str, Any], registry: Registry) -> None:
    """A matrix file, or a part of one."""
    Path("run.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    whole = {"base": "run.yaml", "axes": {"training.seed": [0, 1]}, **shown}
    Path("matrix.yaml").write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    cells = load_matrix("matrix.yaml", registry=registry).matrix.cells
    assert [cell.reason for cell in cells if not cell.possible] == []


def commands() -> list[tuple[str, str]]:
    """(page, line) of every call of ``tide``, in blocks and in running text."""
    found = []
    for page in pages():
        shown = [line for block in blocks(page, "bash") for line in block.text.splitlines()]
        inline = re.findall(r"`(tide [^`]+)`", page.read_text(encoding="utf-8"))
        found += [(title(page), line) for line in [*shown, *inline] if line.startswith("tide ")]
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_line_is_understood(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"{page}: no such command in: {line}"
        command = found
    if words and "=" not in words[0]:
        command.make_context(str(command.name), words)


def test_make_targets_exist_and_plain_commands_do_the_same() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    recipes = makefile.replace("$(BIN)", ".venv/bin").replace("--quiet ", "").replace("--constraint", "-c")
    recipes = recipes.replace("--editable", "-e")
    for page in pages():
        lines = [line.split("#")[0].strip() for block in blocks(page, "bash") for line in block.text.splitlines()]
        assert {word for line in lines if line.startswith("make ") for word in line.split()[1:]} <= targets
        for line in lines:
            if line.startswith(".venv/bin/python") and "tests/" not in line:
                assert line in recipes, f"{title(page)}: the Makefile does not do this: {line}"


def test_the_tutorial_works_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = shown_files(DOCS / "start" / "tutorial.md")
    assert len(shown) == 11
    Path("gap.py").write_bytes((ROOT / shown[0]).read_bytes())
    assert call(["components", "loss", "example_gap", "--plugin", "gap.py"]) == 0
    assert call(["plugin", "check", "gap.py"]) == 0
    assert call(["plugin", "new", "tide-plugin-example"]) == 0
    for path in shown:
        written = Path("tide-plugin-example") / Path(path).relative_to("plugins/tide-plugin-example")
        assert written.read_bytes() == (ROOT / path).read_bytes()
