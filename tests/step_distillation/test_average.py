"""The moving average of the weights: its formula, exact resume, and that it is what is saved and evaluated."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

sys.path.append(str(Path(__file__).parents[1] / "run"))
from run_files import events, losses, write_run

from tide_core.averaging import Average
from tide_core.config import load_run
from tide_core.registry import Registry
from tide_core.run import run

TRAINING = {"steps": 4, "checkpoint_every": 1, "keep_checkpoints": 9, "ema_decay": 0.5}


def test_the_average_is_the_formula_in_float64() -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    average = Average(module, 0.3)
    assert average.names == ["weight"]
    expected = module.weight.detach().double()
    for done in range(1, 6):
        with torch.no_grad():
            module.weight.add_(torch.randn_like(module.weight))
        average.update(done)
        decay = min(0.3, (1 + done) / (10 + done))
        expected = decay * expected + (1 - decay) * module.weight.detach().double()
    before = module.weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(module.weight.double(), expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(module.weight, before), "the weights come back to the last bit"
    with pytest.raises(RuntimeError), average.applied():
        raise RuntimeError
    assert torch.equal(module.weight, before)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def test_the_average_is_saved_evaluated_and_resumed_exactly(tmp_path: Path, registry: Registry) -> None:
    found = {}
    for name in ("whole", "plain", "parts"):
        folder = tmp_path / name
        folder.mkdir()
        training = {**TRAINING, "ema_decay": None if name == "plain" else 0.5}
        path = write_run(folder, training=training, evaluation=[{"name": "bits_per_byte", "limit": 4}])
        found[name] = load_run(path, registry=registry).config
        run(found[name], registry)

    # Training is what it is without an average; what is saved and measured is not.
    assert losses(tmp_path / "whole") == losses(tmp_path / "plain")
    scores = [events(tmp_path / name, "evaluation_finished")[-1] for name in ("whole", "plain")]
    assert scores[0] != scores[1]
    checkpoints = tmp_path / "whole" / "out" / "checkpoints"
    averages, raw = {}, []
    for step in range(1, 5):
        tensors = load_file(str(checkpoints / f"step-00000{step}" / "training.safetensors"))
        raw.append({k.removeprefix("weight/"): v for k, v in tensors.items() if k.startswith("weight/")})
        averages = {k.removeprefix("average/"): v for k, v in tensors.items() if k.startswith("average/")}
    assert averages and set(averages) <= set(raw[-1])
    student = load_file(str(tmp_path / "whole" / "out" / "student" / "model.safetensors"))
    name = next(name for name in averages if name.endswith("embed_tokens.weight"))
    saved = student[name.removeprefix("student_module.")]
    assert torch.equal(saved, averages[name])
    assert not torch.equal(saved, raw[-1][name])

    out = tmp_path / "parts" / "out"
    for step in (3, 4):
        shutil.rmtree(out / "checkpoints" / f"step-00000{step}")
    shutil.rmtree(out / "student")
    run(found["parts"], registry)
    resumed = load_file(str(out / "checkpoints" / "step-000004" / "training.safetensors"))
    for name, value in averages.items():
        assert torch.equal(resumed[f"average/{name}"], value), name
