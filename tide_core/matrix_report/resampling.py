"""Intervals of a mean of paired differences that were taken on several seeds and on many documents.

S seeds, n documents, B replicates. Every seed is evaluated on the same documents, so that a replicate draws seeds and
documents, and all drawn seeds meet the documents that were drawn once. Three sources of chance are told apart, as in a
two-way analysis of variance: seeds, documents, and what is particular to a seed on a document. Plain resampling gets the
size of each wrong where there are few seeds; here the part of each in a replicate is scaled to its unbiased variance
(residuals "reflated" as by Carpenter, Goldstein and Rasbash, Applied Statistics 52, 2003). The replicates' standard
deviation is the standard error; the interval is Student's, with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .student_t import quantile, two_sided

Matrix = NDArray[np.float64]
Over = Literal["seeds and documents", "documents only", "seeds only", "nothing"]

ENOUGH_SEEDS = 3
"""Fewer say nothing of how much seeds differ."""
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and its 95 % interval. over: what was resampled; ``nothing``: there is no interval.

    p: probability of an estimate at least as far from 0 when the true difference is 0.
    """

    value: float
    over: Over
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    degrees: float | None = None
    p: float | None = None


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean squares of a two-way table [S, n]: between seeds, between documents, and of what is left."""

    seeds: float
    documents: float
    rest: float


def interval(differences: Matrix, *, documents: bool, replicates: int, seed: int) -> Interval:
    """Return the interval of the mean of ``differences`` [S, n]; n is 1 where ``documents`` is false.

    Over seeds and documents where there are at least 3 seeds and 2 documents; over documents only, given the seeds at
    hand, with fewer seeds; over seeds only when a metric has no number per document; else there is none.
    """
    seeds, count = differences.shape
    value = float(differences.mean())
    if documents and count > 1:
        if seeds >= ENOUGH_SEEDS:
            return _crossed(differences, replicates, seed)
        return _one_way(value, differences.mean(axis=0), "documents only", replicates, seed)
    if seeds >= ENOUGH_SEEDS:
        return _one_way(value, differences.mean(axis=1), "seeds only", replicates, seed)
    return Interval(value=value, over="nothing")


def spread(table: Matrix) -> Spread:
    """Return the mean squares of a table [S, n] with S and n above 1."""
    seeds, documents = table.shape
    rows, columns, rest = _parts(table)
    return Spread(
        seeds=documents * float(rows @ rows) / (seeds - 1),
        documents=seeds * float(columns @ columns) / (documents - 1),
        rest=float((rest * rest).sum()) / ((seeds - 1) * (documents - 1)),
    )


def weighted(differences: Matrix, weights: NDArray[np.float64]) -> Matrix:
    """Return differences whose plain mean is the weighted one, and which vary about it as the weighted mean does.

    weights: [n]. A linearised ratio: ``m + w_i / mean(w) (d_i - m)``.
    """
    share = weights / weights.mean()
    mean = float((differences.mean(axis=0) * share).mean())
    return mean + share * (differences - mean)


def _crossed(table: Matrix, replicates: int, seed: int) -> Interval:
    seeds, documents = table.shape
    rows, columns, rest = _parts(table)
    found = spread(table)
    seed_draws, document_draws = draws(seeds, replicates, seed), draws(documents, replicates, seed + 1)
    between = _reflation(found.seeds, found.rest, seeds)
    within = _reflation(found.documents, found.rest, documents)
    both = math.sqrt(seeds * documents / ((seeds - 1) * (documents - 1)))
    moved = (
        between * (seed_draws @ rows)
        + within * (document_draws @ columns)
        + both * ((document_draws @ rest.T) * seed_draws).sum(axis=1)
    )
    return _student(float(table.mean()), float(moved.std()), _degrees(found, seeds, documents), "seeds and documents")


def _one_way(value: float, means: Matrix, over: Over, replicates: int, seed: int) -> Interval:
    count = len(means)
    moved = draws(count, replicates, seed) @ (means - value)
    return _student(value, float(moved.std()) * math.sqrt(count / (count - 1)), count - 1, over)


def _parts(table: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    mean = table.mean()
    rows, columns = table.mean(axis=1) - mean, table.mean(axis=0) - mean
    return rows, columns, table - mean - rows[:, None] - columns


def _reflation(mean_square: float, rest: float, count: int) -> float:
    """Return the factor that gives resampled means the unbiased variance of their source; 0 where none is left."""
    if mean_square <= rest:
        return 0.0
    return math.sqrt((1 - rest / mean_square) * count / (count - 1))


def _degrees(found: Spread, seeds: int, documents: int) -> float:
    """Return Satterthwaite's degrees of freedom; seeds that by luck differ little do not count as many."""
    between, within = max(found.seeds, found.rest), max(found.documents, found.rest)
    total = between + within - found.rest
    if total == 0:
        return seeds - 1
    parts = between**2 / (seeds - 1) + within**2 / (documents - 1)
    parts += found.rest**2 / ((seeds - 1) * (documents - 1))
    return total**2 / parts


def _student(value: float, error: float, degrees: float, over: Over) -> Interval:
    half = quantile((1 + LEVEL) / 2, degrees) * error
    p = two_sided(value / error, degrees) if error else float(value == 0)
    return Interval(
        value=value, low=value - half, high=value + half, standard_error=error, degrees=degrees, p=p, over=over
    )


@functools.lru_cache(maxsize=6)
def draws(count: int, replicates: int, seed: int) -> Matrix:
    """Return the shares [B, count] that each of ``count`` things has in each replicate; they sum to 1.

    The same for the same arguments, so that results do not depend on the order of what is compared.
    """
    generator = np.random.default_rng((seed, count))
    return generator.multinomial(count, np.full(count, 1 / count), size=replicates) / count
