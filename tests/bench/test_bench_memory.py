"""Memory is what a run really took."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tide_core.bench.memory import RESET, CudaMeter, ResidentMeter, meter_for

MIB = 1 << 20


def test_weights_that_are_shared_count_once() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(10, 4), "head": nn.Linear(4, 10, bias=False)})
    assert ResidentMeter().weights(model) == 2 * 10 * 4 * 4
    model["head"].weight = model["embedding"].weight
    model.register_buffer("table", torch.zeros(3, dtype=torch.float64))
    assert ResidentMeter().weights(model) == 10 * 4 * 4 + 3 * 8


@pytest.mark.skipif(not RESET.exists(), reason="the kernel's high-water mark is Linux's")
def test_the_peak_is_what_was_held_at_once_above_what_was_there_before() -> None:
    meter = meter_for(torch.device("cpu"))
    kept = torch.ones(48 * MIB // 4)
    meter.begin()
    assert (meter.peak() or 0) < 8 * MIB  # what lies there already does not count
    for _ in range(2):
        torch.ones(96 * MIB // 4).sum()
    peak = meter.peak()
    assert peak is not None and 90 * MIB < peak < 120 * MIB
    assert kept[0] == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_counts_tensors() -> None:
    meter = meter_for(torch.device("cuda"))
    assert isinstance(meter, CudaMeter)
    kept = torch.ones(48 * MIB // 4, device="cuda")
    meter.begin()
    torch.ones(96 * MIB // 4, device="cuda").sum()
    meter.wait()
    peak = meter.peak()
    assert peak is not None and 96 * MIB <= peak < 98 * MIB
    assert kept[0] == 1
