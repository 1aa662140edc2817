"""A run as a user makes it: a YAML file, the command line, and what lies on disk afterwards."""

from __future__ import annotations

import json
import math

import pytest
import torch
from run_files import events, losses, student, teacher, tide, write_run

from tide_core.config import load_run
from tide_core.registry import Registry
from tide_core.run import run


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def run_here(path, registry, *overrides: str, **options):
    return run(load_run(path, overrides, registry=registry).config, registry, **options)


def test_the_command_line_trains_evaluates_tracks_and_saves(tmp_path) -> None:
    evaluation = [{"name": "bits_per_byte", "limit": 4}, {"name": "teacher_divergence", "limit": 4}]
    tracker = {"name": "mlflow", "system_metrics": False}
    path = write_run(tmp_path, evaluation=evaluation, observers=["progress", tracker])
    finished = tide("run", str(path))
    assert finished.returncode == 0, finished.stderr
    logged = losses(tmp_path)
    assert sorted(logged) == [1, 2, 3, 4, 5, 6]
    assert {"loss", "loss/cross_entropy", "loss/reverse_calm", "gradient_norm"} <= set(logged[1])
    assert logged[6]["loss/cross_entropy"] < logged[1]["loss/cross_entropy"]
    names = {event["evaluator"] for event in events(tmp_path, "evaluation_finished")}
    assert names == {"bits_per_byte", "teacher_divergence"}
    assert events(tmp_path, "run_finished")[-1]["status"] == "finished"
    _assert_tracked(tmp_path)


def _assert_tracked(tmp_path) -> None:
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    (tracked,) = client.search_runs([experiment.experiment_id])
    assert tracked.info.status == "FINISHED"
    assert "loss/cross_entropy" in tracked.data.metrics
    assert any("bits_per_byte" in name for name in tracked.data.metrics)


def test_the_student_reloads_in_tide_and_in_transformers(tmp_path, registry) -> None:
    outcome = run_here(write_run(tmp_path, training={"steps": 2}), registry)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(outcome.student)
    model, report = AutoModelForCausalLM.from_pretrained(outcome.student, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert tokenizer.mask_token_id is not None
    assert model.config.model_type == "qwen3"
    card = (outcome.student / "README.md").read_text()
    assert "cross_entropy, reverse_calm" in card
    assert json.loads((tmp_path / "out" / "config.json").read_text())["training"]["steps"] == 2
    again = write_run(
        tmp_path, student={"name": "huggingface", "model": str(outcome.student)}, output=str(tmp_path / "b")
    )
    config = load_run(again, registry=registry).config
    assert config.student.denoiser_form == "block_diffusion"
    assert run_here(again, registry, "training.steps=1").status == "finished"


OBJECTIVES = {
    "tide_cross": {"losses": ["cross_entropy", "reverse_calm"]},
    "corrected": {"losses": ["cross_entropy", {"name": "bernoulli_kl", "temperature": 1.0, "weight": 3.0}]},
    "calm_tidal": {"losses": ["cross_entropy", "calm_tidal"], "teacher_view": "complementary"},
    "token_losses": {
        "losses": ["cross_entropy", "tidal", "forward_kl", "jensen_shannon"],
        "alignment": "shared_vocabulary",
        "teacher_view": "complementary",
        "student": student(tokenizer_from=teacher()["tokenizer_from"]),
    },
    "block_teacher": {"teacher": teacher(form="block_diffusion", block_size=8), "teacher_view": "complementary"},
    "autoregressive_teacher": {"teacher": teacher(form="autoregressive")},
    "bidirectional_student": {"student": student(form="bidirectional", block_size=None)},
    "no_teacher": {"teacher": None, "losses": ["cross_entropy"]},
    "uniform_noise": {"corruption": {"name": "uniform"}},
    "packed_block_times": {
        "data": {"name": "python_stdlib", "max_length": 96, "max_examples": 24, "packing": True},
        "timesteps": {"per": "block", "sampling": "stratified"},
    },
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains(tmp_path, registry, objective: str) -> None:
    path = write_run(tmp_path, **OBJECTIVES[objective], training={"steps": 2})
    assert run_here(path, registry).status == "finished"
    for terms in losses(tmp_path).values():
        assert all(math.isfinite(value) for value in terms.values())
        assert terms["gradient_norm"] > 0


def test_bf16_keeps_float32_masters(tmp_path, registry) -> None:
    outcome = run_here(write_run(tmp_path, training={"precision": "bf16", "steps": 2}), registry)
    from safetensors.torch import load_file

    state = load_file(str(tmp_path / "out" / "checkpoints" / "step-000002" / "training.safetensors"))
    assert {tensor.dtype for name, tensor in state.items() if name.startswith("weight/")} == {torch.float32}
    assert outcome.status == "finished"


def test_accumulation_changes_nothing(tmp_path, registry) -> None:
    seen = []
    for number, (rows, accumulate) in enumerate(((4, 1), (2, 2), (1, 4))):
        folder = tmp_path / str(number)
        folder.mkdir()
        training = {"batch_size": rows, "accumulate": accumulate, "steps": 3}
        run_here(write_run(folder, training=training, timesteps={"sampling": "stratified"}), registry)
        seen.append(losses(folder))
    for other in seen[1:]:
        for step, terms in seen[0].items():
            assert other[step] == pytest.approx(terms, rel=2e-4)
