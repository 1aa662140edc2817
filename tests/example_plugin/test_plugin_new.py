"""``tide plugin new`` writes a project that works at once, from the example plugin's own files."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tide_core.cli.main import call
from tide_core.plugin_template import PARTS, names_of, template_root, write_project

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_new_project_passes_its_tests(tmp_path: Path, run_project: Run, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "tide-plugin-sharp"
    assert call(["plugin", "new", "tide-plugin-sharp", "--kinds", "schedule,loss", "--directory", str(project)]) == 0
    assert "pip install -e" in capsys.readouterr().out
    done = run_project(project, "-m", "pytest", "-q")
    assert done.returncode == 0, done.stdout[-2000:]
    listed = run_project(
        project, "-c", "from tide_core.cli.main import call; call(['plugin', 'check', 'tide-plugin-sharp'])"
    )
    assert re.search(r"sharp_gap +│ loss +│ \d+ +│ 0 ", listed.stdout), listed.stdout + listed.stderr


def test_every_kind_together_is_the_example_under_another_name(tmp_path: Path) -> None:
    names = names_of("acme-kit")
    written = write_project(tmp_path / "acme-kit", names, tuple(PARTS))
    for path in written:
        text = (tmp_path / "acme-kit" / path).read_text(encoding="utf-8")
        source = Path(*("tide_plugin_example" if part == "acme_kit" else part for part in path.parts))
        original = (template_root() / source).read_text(encoding="utf-8")
        original = re.sub(r"<!-- (kind: \w+|end) -->\n", "", original)
        original = original.replace("tide-plugin-example", "acme-kit").replace("tide_plugin_example", "acme_kit")
        assert text == re.sub(r"\bexample_", "acme_kit_", original)
    assert {"README.md", "pyproject.toml", "examples/run.yaml"} <= {path.as_posix() for path in written}


@pytest.mark.parametrize("kind", PARTS)
def test_one_kind_leaves_no_trace_of_the_others(tmp_path: Path, kind: str) -> None:
    project = tmp_path / "one"
    written = write_project(project, names_of("one"), (kind,))
    texts = {path.name: (project / path).read_text(encoding="utf-8") for path in written}
    others = [part for other, parts in PARTS.items() if other != kind for part in parts]
    for name, text in texts.items():
        assert not [word for word in others if re.search(rf"\b{re.escape(word)}", text)], name
        assert "example_" not in text
        if name.endswith(".py"):
            compile(text, name, "exec")
    assert f"| {kind} |" in texts["README.md"]
    assert len(re.findall(r"^\| \w+ \| `", texts["README.md"], re.MULTILINE)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new", "9lives"], "'9lives' cannot name a distribution"),
        (["new", "torch"], "would hide the module 'torch'"),
        (["new", "fine", "--kinds", "los"], "'los': there is no such kind; choose among loss, schedule"),
        (["new", "fine", "--kinds", "dataset"], "'dataset': there is no template for it yet"),
    ],
)
def test_wrong_names_and_kinds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(["plugin", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    assert call(["plugin", "new", "fine", "--directory", str(tmp_path)]) == 2
    assert "exists already and is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("name", "module", "prefix"),
    [
        ("tide-plugin-sharp", "tide_plugin_sharp", "sharp_"),
        ("acme", "acme", "acme_"),
        ("Acme.Kit", "acme_kit", "acme_kit_"),
    ],
)
def test_names(name: str, module: str, prefix: str) -> None:
    names = names_of(name)
    assert (names.distribution, names.module, names.prefix) == (name, module, prefix)
