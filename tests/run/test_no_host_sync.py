"""Between two lines of metrics the device is never asked a question: no tensor becomes a Python number in a step."""

from __future__ import annotations

import pytest
import torch
from run_files import student, teacher, write_run
from torch.utils._python_dispatch import TorchDispatchMode

from tide_core.assembly import describer, load_all_tokenizers, load_distillation, prepare_for_all
from tide_core.config import load_run
from tide_core.feeder import Feeder, Share, joiners
from tide_core.meter import Meter
from tide_core.registry import Registry

SYNCHRONISES = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique")


class Synchronisations(TorchDispatchMode):
    """Records the operations that would wait for a device: dispatched ones, and methods that copy to the host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.seen: list[str] = []
        for name in ("tolist", "numpy", "cpu"):
            monkeypatch.setattr(torch.Tensor, name, self._recording(name, getattr(torch.Tensor, name)))

    def _recording(self, name: str, method):
        def recorded(tensor, *args, **kwargs):
            self.seen.append(name)
            return method(tensor, *args, **kwargs)

        return recorded

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in SYNCHRONISES):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


MIXES = {
    "chunks": {"teacher_view": "complementary"},
    "tokens": {
        "losses": ["cross_entropy", "tidal"],
        "alignment": "shared_vocabulary",
        "student": student(tokenizer_from=teacher()["tokenizer_from"]),
    },
    "sub_steps": {
        "losses": [{"name": "reverse_kl", "temperature": 1.0}],
        "alignment": "shared_vocabulary",
        "student": student(tokenizer_from=teacher()["tokenizer_from"]),
        "teacher_view": {"name": "sampler_steps", "step": 0.3, "sub_steps": 3},
    },
    "packed": {"data": {"name": "python_stdlib", "max_length": 96, "max_examples": 24, "packing": True}},
}


@pytest.mark.parametrize("mix", MIXES)
def test_a_step_never_waits_for_the_device(tmp_path, monkeypatch, mix: str) -> None:
    registry = Registry.discover()
    config = load_run(write_run(tmp_path, **MIXES[mix]), registry=registry).config
    describe = describer(registry)
    tokenizers = load_all_tokenizers(config, describe)
    data = prepare_for_all(config, "train", tokenizers, tmp_path, describe)
    module = load_distillation(config, torch.device("cpu"), tokenizers, describe)
    feeder = Feeder(data, joiners(module), Share(batch_size=4, accumulate=1), module, seed=0, last_step=1)
    (fed,) = feeder.step(0)
    counts = module.counts(fed.work)
    meter = Meter([loss.name for loss in config.losses], lambda tensor: tensor, 1)
    with monkeypatch.context() as patch, Synchronisations(patch) as watch:
        total, terms = module(fed.work.to("cpu"), counts, 0.5)
        total.backward()
        meter.add(terms, total, torch.ones(()), fed.work.tokens, 1)
    assert watch.seen == []
    with monkeypatch.context() as patch, Synchronisations(patch) as watch:
        meter.read()
    assert watch.seen, "the watch itself must see the one read of an interval"
