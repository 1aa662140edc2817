"""Shares of the teacher's scores, their intervals, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from tide_core.bench.protocol import Row
from tide_core.retention import Costs, retained
from tide_specs import Estimate, Evaluation


def row(**given):
    plain = {
        "checkpoint": "m",
        "form": "autoregressive",
        "sampler": "s",
        "batch_size": 1,
        "new_tokens": 8,
        "cache": True,
    }
    counts = {"prompt_tokens": 4, "tokens": 8, "forwards": 8, "positions": None, "flops": None}
    costs = {"seconds": 1.0, "seconds_low": 1.0, "seconds_high": 1.0, "weights_bytes": 100, "working_bytes": 50}
    return Row(**{**plain, **counts, **costs, **given})


def evaluation(values, better="higher", weights=None):
    """A mean of numbers, or of numbers weighted by bytes."""
    mean = float(np.average(values, weights=weights))
    per_example = {"score": list(values), **({} if weights is None else {"bytes": list(weights)})}
    return {
        "it": Evaluation(metrics={"score": Estimate(value=mean)}, per_example=per_example, better={"score": better})
    }


COSTS = Costs(student=row(), teacher=row(seconds=5.0, weights_bytes=3000, working_bytes=300))


def test_the_papers_kind_of_table():
    (found,) = retained(evaluation([1, 0, 0, 1]), evaluation([1, 1, 0, 1]), COSTS)
    assert (found.student, found.teacher, found.share) == (0.5, 0.75, pytest.approx(2 / 3))
    assert (COSTS.memory, COSTS.latency) == (22.0, 5.0)
    assert (found.per_memory, found.per_latency) == (pytest.approx(2 / 3 * 22), pytest.approx(2 / 3 * 5))


def test_lower_is_better_turns_the_share_around():
    (found,) = retained(evaluation([4.0, 4.0], "lower"), evaluation([3.0, 3.0], "lower"))
    assert found.share == 0.75
    assert (found.low, found.high) == (0.75, 0.75)
    assert found.per_memory is None


@pytest.mark.parametrize("weighted", [False, True])
def test_the_interval_is_that_of_a_paired_bootstrap(weighted):
    generator = np.random.default_rng(3)
    difficulty = generator.gamma(2.0, size=60)
    ours, theirs = difficulty + generator.normal(1.0, 0.1, 60), difficulty + generator.normal(2.0, 0.1, 60)
    weights = generator.integers(1, 9, 60) if weighted else None
    (found,) = retained(evaluation(ours, weights=weights), evaluation(theirs, weights=weights))
    ratios = []
    for seed in range(2000):
        picked = np.random.default_rng(seed + 100).integers(0, 60, 60)
        chosen = None if weights is None else weights[picked]
        ratios.append(np.average(ours[picked], weights=chosen) / np.average(theirs[picked], weights=chosen))
    low, high = np.quantile(ratios, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    assert found.low < found.share < found.high


def test_what_cannot_be_compared_is_left_out():
    ours, theirs = evaluation([1, 0]), evaluation([1, 0])
    assert retained(ours, {}) == []
    assert retained({"it": Evaluation(metrics=ours["it"].metrics)}, theirs) == []
    (other_examples,) = retained(ours, evaluation([1, 0, 1]))
    assert (other_examples.low, other_examples.high) == (None, None)
    (nothing,) = retained(ours, evaluation([0, 0]))
    assert np.isnan(nothing.share)


def test_unknown_memory_and_rows_that_ended_early():
    early = Costs(student=row(tokens=4, working_bytes=None), teacher=row(seconds=2.0))
    assert early.memory is None
    assert early.latency == pytest.approx((2 / 8) / (1 / 4))
