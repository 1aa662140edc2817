"""Runs a bad run as a user would, and holds its refusal to what every refusal owes: a message, and an unharmed disk."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tide_core.cli.main import call
from tide_core.registry import Registry

sys.path.append(str(Path(__file__).parents[1] / "run"))

from run_files import write_run

Refused = Callable[..., str]


def files(folder: Path) -> dict[str, bytes]:
    """What lies below a folder, but for the cache of encoded examples."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".tide-cache" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="session")
def architecture() -> type:
    """The bundled architecture, whose ``load`` is the only way to weights."""
    return Registry.discover().find("architecture", "huggingface")


@pytest.fixture
def loads(architecture: type, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The roles whose weights were loaded so far."""
    seen: list[str] = []
    load = architecture.load

    def spy(self, role, runtime):
        seen.append(role)
        return load(self, role, runtime)

    monkeypatch.setattr(architecture, "load", spy)
    return seen


@pytest.fixture
def tide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """``tide("run", ..., sections)`` in a folder of its own -> exit code, stdout, stderr. ``run.yaml`` is written first."""
    monkeypatch.chdir(tmp_path)

    def runner(command: str, *arguments: str, **sections: object) -> tuple[int, str, str]:
        if sections or not Path("run.yaml").exists():
            sections["training"] = {"steps": 1, **sections.get("training", {})}
            write_run(tmp_path, **sections)
        capsys.readouterr()
        code = call([command, "run.yaml", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runner


@pytest.fixture
def refused(tide, loads: list[str], tmp_path: Path) -> Refused:
    """``refused(*arguments, **sections)`` -> the message with which ``tide run`` stops before any weights load."""

    def runner(*arguments: str, **sections: object) -> str:
        before = files(tmp_path)
        code, out, err = tide("run", *arguments, **sections)
        assert (code, out) == (2, ""), err
        assert "Traceback" not in err
        assert loads == []
        after = files(tmp_path)
        assert {name: after.get(name) for name in before if name != "run.yaml"} == {
            name: content for name, content in before.items() if name != "run.yaml"
        }
        assert not [name for name in after if name not in before and name != "run.yaml"]
        return err.rstrip("\n")

    return runner


@pytest.fixture(scope="session")
def student_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that a run of one step saved."""
    folder = tmp_path_factory.mktemp("saved")
    path = write_run(folder, teacher=None, losses=["cross_entropy"], training={"steps": 1})
    assert call(["run", str(path)]) == 0
    return folder / "out" / "student"


@pytest.fixture
def model(student_folder: Path, tmp_path: Path) -> Path:
    """A copy of it to be damaged, as ``model`` beside the run file."""
    return Path(shutil.copytree(student_folder, tmp_path / "model"))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
