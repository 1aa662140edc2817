"""Killed, interrupted, resumed: the curve is the one of an undisturbed run, and nothing on disk is half a thing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from run_files import events, losses, tide, write_run

from tide_core.checkpoints import newest_checkpoint
from tide_core.config import load_run
from tide_core.registry import Registry
from tide_core.run import run
from tide_specs import CheckpointError, ConfigError, TrainingError

STEPS = 40
TRAINING = {"steps": STEPS, "checkpoint_every": 2, "keep_checkpoints": 2}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def start(path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tide_core.cli.main", "run", str(path)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_step(folder, step: int, process: subprocess.Popen[str]) -> None:
    log = folder / "out" / "events.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and f'"step": {step}' in log.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"step {step} was never logged: {process.communicate()[0]}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, registry):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(load_run(write_run(folder, training=TRAINING), registry=registry).config, registry)
    return losses(folder)


def test_a_killed_run_resumes_exactly(tmp_path, undisturbed) -> None:
    path = write_run(tmp_path, training=TRAINING)
    process = start(path)
    wait_for_step(tmp_path, 7, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = newest_checkpoint(tmp_path / "out" / "checkpoints")
    assert before is not None
    assert before.step < STEPS
    finished = tide("run", str(path))
    assert finished.returncode == 0, finished.stderr
    resumed = losses(tmp_path)
    assert resumed == undisturbed
    assert events(tmp_path, "run_started")[-1]["first_step"] == before.step


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, undisturbed) -> None:
    path = write_run(tmp_path, training={**TRAINING, "checkpoint_every": 0})
    process = start(path)
    wait_for_step(tmp_path, 3, process)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=120)[0]
    assert "the same command goes on from there" in output
    assert events(tmp_path, "run_finished")[-1]["status"] == "interrupted"
    assert tide("run", str(path)).returncode == 0
    assert losses(tmp_path) == undisturbed


def test_resuming_with_another_configuration_is_refused_with_the_difference(tmp_path, registry) -> None:
    path = write_run(tmp_path, training={"steps": 2})
    run(load_run(path, registry=registry).config, registry)
    changed = load_run(path, ["training.learning_rate=0.5"], registry=registry).config
    with pytest.raises(ConfigError, match=r"training\.learning_rate: 0\.01 -> 0\.5"):
        run(changed, registry)
    longer = load_run(path, ["training.steps=3", "training.log_every=2"], registry=registry).config
    assert run(longer, registry, allow_changes=True).step == 3
    with pytest.raises(ConfigError, match="already holds a run"):
        run(longer, registry, resume=False)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, registry, monkeypatch) -> None:
    from tide_core import checkpoints

    save, calls = checkpoints.save_file, []

    def full(tensors, path) -> None:
        calls.append(path)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        save(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", full)
    path = write_run(tmp_path, training={"steps": 4, "checkpoint_every": 2})
    message = "step-000004: cannot be written .*No space left.*the checkpoint of step 2 is intact"
    with pytest.raises(CheckpointError, match=message):
        run(load_run(path, registry=registry).config, registry)
    kept = newest_checkpoint(tmp_path / "out" / "checkpoints")
    assert kept is not None
    assert kept.step == 2
    assert not list((tmp_path / "out" / "checkpoints").glob(".partial*"))
    monkeypatch.undo()
    assert run(load_run(path, registry=registry).config, registry).step == 4


def test_a_loss_that_is_not_finite_stops_the_run_with_its_batch(tmp_path, registry) -> None:
    path = write_run(tmp_path, training={"steps": 30, "learning_rate": 1e30, "log_every": 5, "max_gradient_norm": None})
    with pytest.raises(
        TrainingError, match=r"step \d+: the loss or its gradient is not finite. The batch was saved to"
    ):
        run(load_run(path, registry=registry).config, registry)
    (saved,) = (tmp_path / "out" / "non_finite").glob("*.safetensors")
    from safetensors.torch import load_file

    batch = load_file(str(saved))
    assert batch["micro_batch_0/student/ids"].shape == batch["micro_batch_0/student/masked"].shape
    assert events(tmp_path, "run_finished")[-1]["status"] == "failed"
