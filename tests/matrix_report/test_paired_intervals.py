"""Intervals: their coverage on data whose truth is known, and the standard error against an analysis of variance."""

from __future__ import annotations

import numpy as np
import pytest

from tide_core.matrix_report.resampling import interval, weighted


def table(rng: np.random.Generator, shape: tuple[int, int], seeds: float, documents: float, rest: float) -> np.ndarray:
    """Differences [S, n] whose true mean is 0, with these standard deviations."""
    rows, columns = rng.normal(0, seeds, (shape[0], 1)), rng.normal(0, documents, (1, shape[1]))
    return rows + columns + rng.normal(0, rest, shape)


@pytest.mark.parametrize(
    ("shape", "spreads"),
    [
        ((5, 40), (0.3, 1.0, 0.5)),
        ((5, 40), (1.0, 0.1, 0.1)),
        ((5, 40), (0.0, 1.0, 0.5)),
        ((3, 60), (0.2, 1.0, 1.0)),
        ((8, 30), (0.3, 0.0, 1.0)),
    ],
)
def test_95_per_cent_intervals_cover_the_truth_that_often(
    shape: tuple[int, int], spreads: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(3)
    found = [interval(0.7 + table(rng, shape, *spreads), documents=True, replicates=400, seed=0) for _ in range(200)]
    assert all(one.over == "seeds and documents" for one in found)
    assert 0.90 <= np.mean([one.low <= 0.7 <= one.high for one in found]) <= 0.99


@pytest.mark.parametrize("shape", [(1, 40), (2, 40), (6, 1)])
def test_one_way_intervals_cover_what_they_speak_of(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    documents = shape[1] > 1
    found = [interval(rng.normal(0.7, 1, shape), documents=documents, replicates=400, seed=0) for _ in range(200)]
    assert {one.over for one in found} == {"documents only" if documents else "seeds only"}
    assert 0.90 <= np.mean([one.low <= 0.7 <= one.high for one in found]) <= 0.99


def test_the_standard_error_is_that_of_an_analysis_of_variance() -> None:
    differences = table(np.random.default_rng(0), (6, 50), 0.5, 1.0, 0.8)
    rows = [sum(row) / 50 for row in differences.tolist()]
    columns = [sum(column) / 6 for column in differences.T.tolist()]
    mean = sum(rows) / 6
    seeds = 50 * sum((row - mean) ** 2 for row in rows) / 5
    documents = 6 * sum((column - mean) ** 2 for column in columns) / 49
    rest = sum((differences[s, i] - rows[s] - columns[i] + mean) ** 2 for s in range(6) for i in range(50)) / (5 * 49)
    found = interval(differences, documents=True, replicates=20_000, seed=0)
    assert found.value == pytest.approx(mean, rel=1e-12)
    assert found.standard_error == pytest.approx(((seeds + documents - rest) / 300) ** 0.5, rel=0.03)
    degrees = (seeds + documents - rest) ** 2 / (seeds**2 / 5 + documents**2 / 49 + rest**2 / 245)
    assert found.degrees == pytest.approx(degrees, rel=1e-9)


def test_differences_that_all_seeds_share_do_not_get_surer_with_more_seeds() -> None:
    """Five seeds that differ in the same way are five looks at the same documents, not five times the documents."""
    shared = np.random.default_rng(0).normal(0, 1, 50)
    errors = [
        interval(np.tile(shared, (seeds, 1)), documents=True, replicates=4000, seed=0).standard_error
        for seeds in (1, 3, 9)
    ]
    assert errors == pytest.approx([shared.std(ddof=1) / 50**0.5] * 3, rel=0.05)


def test_fewer_than_three_seeds_have_no_interval_over_seeds() -> None:
    differences = np.random.default_rng(0).normal(size=(2, 30))
    assert interval(differences, documents=True, replicates=400, seed=0).over == "documents only"
    alone = interval(differences[:, :1], documents=False, replicates=400, seed=0)
    assert (alone.over, alone.low, alone.p) == ("nothing", None, None)


def test_equal_runs_differ_by_nothing() -> None:
    found = interval(np.zeros((4, 20)), documents=True, replicates=400, seed=0)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_an_interval_leaves_out_zero_exactly_when_p_is_below_five_per_cent() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        found = interval(rng.normal(0.15, 0.5, (4, 20)), documents=True, replicates=400, seed=0)
        assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


def test_weighted_differences_give_a_ratio_of_sums_and_its_spread() -> None:
    """Bits over bytes of whole corpora: the mean is the ratio's difference, the error that of resampled corpora."""
    rng = np.random.default_rng(6)
    bytes_ = rng.integers(20, 400, 200).astype(float)
    bits = bytes_ * rng.normal(0.2, 0.5, 200)
    per_byte = (bits / bytes_)[None]
    found = interval(weighted(per_byte, bytes_), documents=True, replicates=4000, seed=0)
    drawn = rng.integers(0, 200, (4000, 200))
    ratios = bits[drawn].sum(axis=1) / bytes_[drawn].sum(axis=1)
    assert found.value == pytest.approx(bits.sum() / bytes_.sum(), rel=1e-12)
    assert found.standard_error == pytest.approx(ratios.std(), rel=0.06)
