"""A tiny student that a real run trained, and a tiny autoregressive model of transformers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tide_core.cli.main import call

sys.path.append(str(Path(__file__).parents[1] / "run"))

from run_files import DEMO, write_run

EVALUATION = [{"name": "bits_per_byte", "limit": 3, "max_bytes": 200}, {"name": "teacher_divergence", "limit": 3}]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; ``run.yaml`` lies beside it."""
    folder = tmp_path_factory.mktemp("trained")
    path = write_run(folder, evaluation=EVALUATION, training={"steps": 2})
    assert call(["run", str(path)]) == 0
    return folder / "out"


@pytest.fixture(scope="session")
def autoregressive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that transformers saved, without ``tide.json``."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("autoregressive")
    tokenizer = AutoTokenizer.from_pretrained(DEMO / "teacher-tokenizer")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture
def tide(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``tide("generate", ...)`` -> exit code, stdout, stderr."""

    def runner(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = call([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runner
