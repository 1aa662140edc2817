"""Runs ``tide`` in this process, with the toy components alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tide_core.cli.main import call
from tide_core.registry import BUILTIN

TOY = Path(__file__).parents[1] / "data" / "toy_components.py"
RUN = """\
student: {name: toy_model, form: block_diffusion, block_size: 32}
teacher: {name: toy_model, parameters: 4_000_000}
data: toy_data
losses: [cross_entropy, reverse_calm]
training: {steps: 100, batch_size: 2, accumulate: 3, precision: bf16, slice_elements: 1000}
"""


@pytest.fixture
def tide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """``tide("validate", "run.yaml")`` -> exit code, stdout, stderr; ``run.yaml`` is there and valid."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDE_LOAD_PLUGINS", "")
    monkeypatch.setenv("TIDE_BLOCK_PLUGINS", ",".join(BUILTIN))
    Path("run.yaml").write_text(RUN)

    def runner(*arguments: str, toys: bool = True) -> tuple[int, str, str]:
        code = call([*arguments, *(["--plugin", str(TOY)] if toys else [])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runner
