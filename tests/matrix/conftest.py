"""Matrix files over the toy components: what their cells are, without running any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tide_core.cli.main import call
from tide_core.matrix.definition import LoadedMatrix, load_matrix
from tide_core.registry import BUILTIN, Registry

TOY = Path(__file__).parents[1] / "data" / "toy_components.py"
RUN = """\
student: {name: toy_model, form: block_diffusion, block_size: 32}
teacher: {name: toy_model, parameters: 4_000_000}
data: toy_data
losses: [cross_entropy, reverse_calm]
training: {steps: 100, batch_size: 2, accumulate: 3}
observers: []
"""
LAUNCHERS = "tide_plugins.launchers"


@pytest.fixture(scope="session")
def toys() -> Registry:
    """The toy components and the bundled launchers."""
    blocked = ",".join(name for name in BUILTIN if name != LAUNCHERS)
    return Registry.discover([str(TOY)], environment={"TIDE_LOAD_PLUGINS": "", "TIDE_BLOCK_PLUGINS": blocked})


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toys: Registry) -> Callable[[str], LoadedMatrix]:
    """``load(text)`` reads ``matrix.yaml``; it lies beside ``run.yaml``, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(RUN)

    def loader(text: str) -> LoadedMatrix:
        Path("matrix.yaml").write_text(text)
        return load_matrix("matrix.yaml", registry=toys)

    return loader


@pytest.fixture
def tide(
    load: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """``tide("matrix", "plan", "matrix.yaml")`` -> exit code, stdout, stderr, over the toy components."""
    monkeypatch.setenv("TIDE_LOAD_PLUGINS", "")
    monkeypatch.setenv("TIDE_BLOCK_PLUGINS", ",".join(name for name in BUILTIN if name != LAUNCHERS))

    def runner(*arguments: str) -> tuple[int, str, str]:
        code = call([*arguments, "--plugin", str(TOY)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runner
