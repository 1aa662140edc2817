"""Generated references are complete, and stay so when the code changes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from docs_pages import DOCS, ROOT, expanded, pages, title

from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_core.settings import Timesteps, Training
from tide_specs import COMPONENT_HOOKS
from tide_specs.testing import checks_for


def signatures() -> dict[str, str]:
    """Hook -> its signature as the contract's sources have it."""
    files = (ROOT / "specs" / "tide_specs").glob("*_hooks.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    hooks = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.decorator_list and node.returns]
    return {hook.name: f"({ast.unparse(hook.args)}) -> {ast.unparse(hook.returns)}" for hook in hooks}


@pytest.mark.parametrize("kind", COMPONENT_HOOKS)
def test_each_component_hook_has_a_page_with_its_signature(kind: str) -> None:
    hook = COMPONENT_HOOKS[kind]
    page = expanded(DOCS / "kinds" / f"{kind}.md")
    assert f"@hookimpl\ndef {hook}{signatures()[hook].replace('self', '')}" in page


def test_each_lifecycle_hook_is_documented_with_its_signature() -> None:
    page = expanded(DOCS / "reference" / "events.md")
    lifecycle = {name: text for name, text in signatures().items() if name not in COMPONENT_HOOKS.values()}
    assert len(lifecycle) == 6
    for name, text in lifecycle.items():
        assert f"@hookimpl\ndef {name}{text}" in page


@pytest.mark.parametrize("kind", COMPONENT_HOOKS)
def test_each_page_of_a_kind_names_every_check_and_every_bundled_component(kind: str) -> None:
    page = expanded(DOCS / "kinds" / f"{kind}.md")
    bundled = Registry.discover(environment={"TIDE_LOAD_PLUGINS": ""}).classes(kind)
    assert bundled
    for check in checks_for(kind):
        assert check.module == "common" or f"`{check.name}`" in page
    for name in bundled:
        assert f"[`{name}`](" in page


def test_every_bundled_component_is_in_the_catalogue_with_its_options_and_source() -> None:
    page = expanded(DOCS / "reference" / "catalogue.md")
    registry = Registry.discover(environment={"TIDE_LOAD_PLUGINS": ""})
    entries = dict(re.findall(r"^### \w+ \{ #([\w-]+) \}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL))
    expected = {f"{kind}-{name}": cls for kind in COMPONENT_HOOKS for name, cls in registry.classes(kind).items()}
    assert set(entries) == set(expected)
    for anchor, cls in expected.items():
        assert f"version of its numbers: {cls.version}" in entries[anchor]
        source = re.search(r"defined in `(.+?)`", entries[anchor])
        assert source and (ROOT / source.group(1)).is_file()
        for option in cls.model_fields:
            assert option == "name" or f"| `{option}` |" in entries[anchor]


def test_every_section_and_option_of_a_run_file_is_documented() -> None:
    page = expanded(DOCS / "reference" / "configuration.md")
    for name in [*RunConfig.model_fields, *Training.model_fields, *Timesteps.model_fields]:
        assert f"| `{name}` |" in page


def test_every_command_and_option_is_documented() -> None:
    from tide_docs.commands import walk

    from tide_core.cli.main import COMMANDS, cli

    page = expanded(DOCS / "reference" / "cli.md")
    seen = [words for words, _ in walk(cli)]
    assert {words[1] for words in seen if len(words) > 1} <= set(COMMANDS)
    for words, command in walk(cli):
        assert f"# {' '.join(words)} {{" in page
        assert all(option in page for parameter in command.params for option in parameter.opts if option[0] == "-")


def constants(folder: Path) -> Iterator[str]:
    """Every piece of a string in the sources below a folder."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_message_in_troubleshooting_is_one_that_the_code_writes() -> None:
    text = (DOCS / "reference" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^### `(.+)` \{ #", text, re.MULTILINE)
    folders = [ROOT / "tide_core", ROOT / "plugins" / "tide_plugins", ROOT / "specs" / "tide_specs"]
    written = "\0".join(piece for folder in folders for piece in constants(folder))
    missing = {quote: piece for quote in quoted for piece in quote.split("...") if piece not in written}
    assert len(quoted) > 30
    assert missing == {}


def test_every_page_is_in_the_navigation() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = {page for section in config["nav"] for group in section.values() for page in group}
    assert listed == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}


@pytest.mark.parametrize("page", pages(), ids=title)
def test_pages_speak_of_the_project_alone(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"/(work|home|tmp)/|TODO|FIXME|TBD|lorem", text)
