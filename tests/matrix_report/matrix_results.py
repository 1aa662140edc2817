"""Results of matrices that never ran: what a test says of effects and noise, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np

from tide_core.matrix.results import CellResult
from tide_specs import Estimate

METRIC = "score/bits"

Place = Mapping[str, str]


def results(
    axes: Mapping[str, Sequence[str]],
    effect: Callable[[Place], float] = lambda place: 0.0,
    *,
    documents: int = 60,
    between_seeds: float = 0.02,
    noise: float = 0.1,
    seed: int = 0,
) -> list[CellResult]:
    """One finished cell for each combination of labels; ``effect`` shifts a cell's every document.

    Objective ``alone`` asks no teacher, and its numbers do not depend on the teacher's label.
    """
    generator = np.random.default_rng(seed)
    difficulty = generator.normal(3, 0.5, documents)
    cells: list[CellResult] = []
    drawn: dict[tuple[str, ...], np.ndarray] = {}
    for labels in product(*axes.values()):
        place = dict(zip(axes, labels, strict=True))
        alone = place["objective"] == "alone"
        same = tuple(label for axis, label in place.items() if not (alone and axis == "teacher"))
        if same not in drawn:
            shift = generator.normal(0, between_seeds)
            drawn[same] = difficulty + shift + generator.normal(0, noise, documents)
        cells.append(finished(place, (drawn[same] + effect(place)).tolist(), asks=not alone))
    return cells


def finished(place: Place, examples: Sequence[float], *, asks: bool = True, metric: str = METRIC) -> CellResult:
    """A finished cell with one metric, the mean of its documents."""
    value = float(np.nanmean(examples))
    return CellResult(
        cell="--".join(place.values()),
        labels=dict(place),
        status="finished",
        metrics={metric: Estimate(value=value)},
        per_example={metric: list(examples)},
        better={metric: "lower"},
        curves={"loss": [(1, value + 1), (10, value)], metric: [(5, value + 0.5), (10, value)]},
        seconds=1.5,
        teacher_forwards=10 if asks else 0,
        student_forwards=10,
        parameters=1000,
    )


AXES = {
    "teacher": ("llada", "dream"),
    "student": ("qwen", "gemma"),
    "objective": ("alone", "kl", "calm"),
    "seed": ("0", "1", "2", "3", "4"),
}
