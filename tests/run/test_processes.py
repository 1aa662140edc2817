"""Two processes compute what one computes."""

from __future__ import annotations

import socket

import pytest
import torch
from run_files import losses, tide, write_run
from safetensors.torch import load_file


def launcher(processes: int) -> tuple[str, ...]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return ("-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(port))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_equal_one(tmp_path, strategy: str) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder, rows, start in ((alone, 4, ()), (together, 2, launcher(2))):
        folder.mkdir()
        chosen = strategy if start else "auto"
        training = {
            "steps": 3,
            "batch_size": rows,
            "strategy": chosen,
            "gradient_checkpointing": True,
            "ema_decay": 0.5,
        }
        path = write_run(folder, training=training, timesteps={"sampling": "lattice"})
        finished = tide("run", str(path), launcher=start)
        assert finished.returncode == 0, finished.stderr[-3000:]
    expected, seen = losses(alone), losses(together)
    assert sorted(seen) == [1, 2, 3]
    for step, terms in expected.items():
        assert seen[step] == pytest.approx(terms, rel=2e-4), step
    checkpoint = together / "out" / "checkpoints" / "step-000003"
    assert (checkpoint / "training.safetensors").is_file()
    one, two = (load_file(str(folder / "out" / "student" / "model.safetensors")) for folder in (alone, together))
    assert set(one) == set(two)
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-4)
