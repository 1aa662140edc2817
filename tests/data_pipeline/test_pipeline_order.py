from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tide_core.data import BatchPlan, epoch_order
from tide_specs import ConfigError


@given(st.integers(0, 200), st.integers(0, 2**40), st.integers(0, 1000))
def test_an_epoch_reads_every_row_once(size: int, seed: int, epoch: int) -> None:
    order = epoch_order(size, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(size))


def test_the_order_is_fixed_for_ever() -> None:
    assert epoch_order(8, seed=0, epoch=0).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]
    assert epoch_order(8, seed=1, epoch=2).tolist() == [4, 2, 0, 6, 1, 5, 7, 3]
    orders = {tuple(epoch_order(50, seed=seed, epoch=epoch).tolist()) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


@given(size=st.integers(1, 30), batch=st.integers(1, 40), seed=st.integers(0, 5))
def test_epochs_follow_each_other_without_a_gap(size: int, batch: int, seed: int) -> None:
    plan = BatchPlan(size, batch, seed)
    steps = [plan.samples(step) for step in range(2 * size // batch + 2)]
    indices = np.concatenate([indices for indices, _ in steps])
    epochs = np.concatenate([epochs for _, epochs in steps])
    assert epochs.tolist() == [place // size for place in range(len(indices))]
    for epoch in range(len(indices) // size):
        assert indices[epochs == epoch].tolist() == epoch_order(size, seed=seed, epoch=epoch).tolist()


@given(size=st.integers(1, 30), batch=st.integers(1, 40), step=st.integers(0, 10**6))
def test_a_resumed_run_goes_on_where_it_was(size: int, batch: int, step: int) -> None:
    running = BatchPlan(size, batch, 7)
    for earlier in range(max(0, step - 3), step):
        running.samples(earlier)
    for one, two in zip(running.samples(step), BatchPlan(size, batch, 7).samples(step), strict=True):
        assert one.tolist() == two.tolist()


@given(each=st.integers(1, 3), processes=st.integers(1, 4), accumulate=st.integers(1, 4), step=st.integers(0, 9))
def test_processes_and_micro_batches_share_out_one_batch(each: int, processes: int, accumulate: int, step: int) -> None:
    total = each * processes * accumulate
    plan = BatchPlan(17, total, 3)
    indices, epochs = plan.samples(step)
    shares = [
        plan.micro_batch(step, process=process, processes=processes, micro=micro, accumulate=accumulate)
        for micro in range(accumulate)
        for process in range(processes)
    ]
    assert np.concatenate([share.positions for share in shares]).tolist() == list(range(total))
    assert np.concatenate([share.indices for share in shares]).tolist() == indices.tolist()
    assert np.concatenate([share.epochs for share in shares]).tolist() == epochs.tolist()
    assert {len(share.indices) for share in shares} == {each}


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"8 rows cannot be shared out evenly among 3 processes times 1"):
        BatchPlan(10, 8, 0).micro_batch(0, processes=3)
    with pytest.raises(ValueError, match="must be positive"):
        BatchPlan(0, 8, 0)


def test_a_long_run_does_not_keep_every_order() -> None:
    plan = BatchPlan(10, 10, 0)
    for step in range(100):
        plan.samples(step)
    assert len(plan._orders) <= 2
