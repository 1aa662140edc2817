"""Losses on hidden states, words and lines in whole runs: they learn, resume exactly, and stay out of the saved student."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from run_files import losses, write_run
from safetensors.torch import load_file

from tide_core.config import load_run
from tide_core.registry import Registry
from tide_core.run import run

LOSSES = ["cross_entropy", "hidden_state", "dual_space", {"name": "multi_resolution_calm", "weight": 0.5}]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def learn(directory: Path, registry: Registry, **sections: Any) -> dict[int, dict[str, float]]:
    directory.mkdir(exist_ok=True)
    run(load_run(write_run(directory, losses=LOSSES, **sections), registry=registry).config, registry)
    return losses(directory)


def test_every_term_is_reported_and_projections_resume_exactly(tmp_path: Path, registry: Registry) -> None:
    training = {"checkpoint_every": 3, "keep_checkpoints": 9}
    whole = learn(tmp_path, registry, training=training)
    assert {"loss/hidden_state", "loss/dual_space", "loss/multi_resolution_calm"} <= set(whole[1])
    shutil.rmtree(tmp_path / "out" / "checkpoints" / "step-000006")
    again = learn(tmp_path, registry, training=training)
    assert again[6] == whole[6]
    names = set(load_file(tmp_path / "out" / "student" / "model.safetensors"))
    assert names and not any("projection" in name or "to_student" in name for name in names)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_projections_learn(tmp_path: Path, registry: Registry, precision: str) -> None:
    logged = learn(tmp_path, registry, training={"steps": 30, "precision": precision})
    for name in ("loss/hidden_state", "loss/dual_space"):
        early, late = (sum(logged[step][name] for step in steps) for steps in (range(1, 6), range(26, 31)))
        assert late < early, name
