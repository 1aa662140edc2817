"""A model is measured in a process of its own, which may print, fail or be killed."""

from __future__ import annotations

from typing import Any

import pytest

from tide_core.bench.processes import run_job
from tide_core.bench.protocol import Contender, Job, Model, Protocol, Row
from tide_specs import ConfigError, UnavailableError

PLUGIN = '''
"""A model of one layer that may misbehave."""
from __future__ import annotations
import os
import signal
from typing import Literal
from pydantic import Field
from tide_specs import ConfigError, ModuleArchitecture, hookimpl

print("a plugin that prints")


class Moody(ModuleArchitecture):
    """Every position sees itself only."""

    name: Literal["moody"] = "moody"
    mood: str = Field("good", description="good, refusing or deadly")

    def build(self, vocabulary, runtime):
        import torch

        if self.mood == "refusing":
            raise ConfigError("not today")
        if self.mood == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)

        class Net(torch.nn.Module):
            def __init__(net):
                super().__init__()
                net.embed = torch.nn.Embedding(vocabulary, 8)
                net.head = torch.nn.Linear(8, vocabulary)

            def forward(net, ids, positions, layout):
                return net.embed(ids)

        return Net()


@hookimpl
def tide_architectures():
    return [Moody]
'''


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("moody") / "moody_plugin.py"
    path.write_text(PLUGIN)
    return str(path)


def job(plugin: str, **options: Any) -> Job:
    protocol = Protocol(
        prompts=["ab", "cde"],
        chat=False,
        batch_sizes=[3],
        new_tokens=[5],
        caches=[True, False],
        warmups=1,
        repetitions=2,
        seed=0,
        device="cpu",
        dtype="float32",
        attention="sdpa",
    )
    contender = Contender(
        label="mine",
        path="mine",
        form="bidirectional",
        architecture={"name": "moody", **options},
        sampler={"name": "block", "tokens_per_step": 2, "cache": True},
    )
    return Job(protocol=protocol, contender=contender, plugins=[plugin])


def test_a_job_survives_the_way_there(plugin: str) -> None:
    import json

    there = job(plugin)
    assert Job.of(json.loads(json.dumps(there.as_record()))) == there


def test_a_model_without_a_cache_is_measured_once_in_the_prompts_order(plugin: str) -> None:
    model, row = run_job(job(plugin))
    assert isinstance(model, Model) and isinstance(row, Row)
    assert model.weights_bytes == row.weights_bytes > 0
    assert model.machine["dtype"] == "float32"
    assert (row.checkpoint, row.batch_size, row.cache) == ("mine", 3, False)
    assert row.prompt_tokens == 3 + 4 + 3  # bytes behind a first token; the first prompt again where there are too few
    assert 0 < row.seconds_low <= row.seconds <= row.seconds_high
    assert row.forwards == 3  # five tokens, two a step
    assert row.positions is not None and row.positions % row.forwards == 0


@pytest.mark.parametrize(
    ("mood", "error", "message"),
    [
        ("refusing", ConfigError, "^not today$"),
        (
            "deadly",
            UnavailableError,
            "^mine: the process that measured it was killed, most likely because memory ran out",
        ),
    ],
)
def test_what_goes_wrong_there_is_told_here(plugin: str, mood: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        list(run_job(job(plugin, mood=mood)))


def test_a_process_does_not_outlive_who_stops_listening(plugin: str) -> None:
    import psutil

    listening = run_job(job(plugin))
    next(listening)
    (child,) = [p for p in psutil.Process().children() if "tide_core.bench.worker" in " ".join(p.cmdline())]
    listening.close()
    assert not child.is_running()
