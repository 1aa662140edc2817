"""Estimates with confidence intervals over examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tide_specs import Estimate

RESAMPLES = 2000
ELEMENTS = 1 << 21
"""Resampling weights that exist at once."""


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Return sum(numerators) / sum(denominators) with a 95 % percentile-bootstrap interval over examples.

    Examples that are not finite or whose denominator is zero are left out. The value is NaN when none is left; there is
    no interval for fewer than two. Resampling is seeded, so that equal inputs give equal intervals.
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    usable = np.isfinite(above) & np.isfinite(below) & (below > 0)
    above, below = above[usable], below[usable]
    if above.size == 0:
        return Estimate(value=float("nan"))
    value = float(above.sum() / below.sum())
    if above.size < 2:
        return Estimate(value=value)
    low, high = np.quantile(_resampled(above, below), [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high))


def wilson(successes: int, count: int) -> Estimate:
    """Return a share with Wilson's 95 % interval, which also holds where all or none succeed; NaN for a count of 0."""
    if count == 0:
        return Estimate(value=float("nan"))
    z, share = 1.959963984540054, successes / count
    middle, scale = share + z * z / (2 * count), 1 + z * z / count
    half = z * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    low, high = max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
    return Estimate(value=share, low=min(low, share), high=max(high, share))


def _resampled(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    generator, count = np.random.default_rng(0), above.size
    step = max(1, ELEMENTS // count)
    ratios: list[NDArray[np.float64]] = []
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        # How often each example is drawn, instead of which: one matrix product gives all sums.
        times = generator.multinomial(count, np.full(count, 1 / count), size=size)
        ratios.append((times @ above) / (times @ below))
    return np.concatenate(ratios)
