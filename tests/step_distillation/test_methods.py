"""The other published methods: their terms against float64, their presets, and each as a tiny real run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from markov import L
from table_denoiser import batch_of

sys.path.append(str(Path(__file__).parents[1] / "run"))
from run_files import losses, run_record, teacher

from tide_core.compatibility import require_mix
from tide_core.config import load_run
from tide_core.draws import SampleDraws
from tide_core.registry import Registry
from tide_core.run import run
from tide_plugins.losses import Certainty
from tide_plugins.teacher_views import Nested
from tide_specs import TokenContext

PRESETS = Path(__file__).parents[2] / "examples" / "presets" / "step_distillation"
NAMES = ["cd4lm", "certainty", "sdtt", "tide_then_sdtt"]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def test_certainty_is_the_entropy_where_the_likeliest_token_is_right() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(50, 7), torch.randint(0, 7, (50,))
    one = torch.ones(50)
    at = TokenContext(
        targets=targets, t=one, schedule_weight=one, interpolation=one, maskable_in_sequence=one, progress=0.0
    )
    found = Certainty(temperature=0.5).per_token(logits, at).numpy()
    expected = []
    for row, target in zip(logits.numpy().astype(np.float64), targets.tolist(), strict=True):
        p = np.exp(row / 0.5) / np.exp(row / 0.5).sum()
        expected.append(-(p * np.log(p)).sum() if row.argmax() == target else 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert 0 < np.count_nonzero(expected) < 50


def test_the_nested_teacher_sees_more_and_answers_everything() -> None:
    rows = 2000
    side = batch_of(rows).teacher
    masked = torch.rand(rows, L, generator=torch.Generator().manual_seed(0)) < 0.6
    draws = SampleDraws(seed=0, epoch=0, samples=torch.arange(rows))
    seen, rest = Nested(keep=0.3).passes(side, masked, draws)
    assert torch.equal(seen.masked, seen.counts)
    assert not (seen.masked & ~masked).any()
    assert torch.equal(rest.masked, masked)
    assert torch.equal(rest.counts, masked & ~seen.masked)
    assert abs(float(seen.masked[masked].double().mean()) - 0.3) < 0.02


def preset(name: str) -> dict[str, Any]:
    return yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))


def test_every_preset_is_there_and_no_other() -> None:
    assert sorted(path.stem for path in PRESETS.glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_valid_and_states_its_source(name: str, registry: Registry) -> None:
    path = PRESETS / f"{name}.yaml"
    assert "arXiv " in path.read_text(encoding="utf-8")
    loaded = load_run(path, registry=registry)
    assert require_mix(loaded.config, registry, loaded.source) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_trains_tiny_models(name: str, tmp_path: Path, registry: Registry) -> None:
    own = preset(name)
    models = {"student": teacher()} | ({"teacher": teacher()} if own.get("teacher") else {"teacher": None})
    kept = {
        key: value for key, value in own.items() if key not in ("data", "evaluation", "observers", "student", "teacher")
    }
    record = run_record(tmp_path, **{**kept, **models, "training": {}})
    record["training"] |= {"steps": 2, "ema_decay": own["training"].get("ema_decay")}
    if own.get("recipe", {}).get("name") == "rounds":
        record["recipe"] = {**own["recipe"], "rounds": 2}
    for stage in own.get("recipe", {}).get("stages", ()):
        stage.setdefault("changes", {}).pop("training.steps", None)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    loaded = load_run(path, registry=registry)
    outcome = run(loaded.config, registry, source=loaded.source)
    assert outcome.status == "finished"
    assert outcome.student is not None and (outcome.student / "model.safetensors").is_file()
    if "recipe" not in own:
        logged = losses(tmp_path)[2]
        assert {f"loss/{loss['name'] if isinstance(loss, dict) else loss}" for loss in own["losses"]} <= set(logged)
