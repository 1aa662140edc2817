"""What step distillation does to a source that is known exactly: no training, enumeration in float64."""

from __future__ import annotations

import numpy as np
import pytest
from markov import coverage, entropy, sample_log_likelihood, sampled, taught, true_denoiser

FIRST_STEPS, ROUNDS, NFE = 32, 5, 16


@pytest.fixture(scope="module")
def rounds() -> dict[str, list[np.ndarray]]:
    """Teacher, then the student of each round, which teaches the next; dt doubles."""
    found = {}
    for direction in ("forward", "reverse"):
        models = [true_denoiser()]
        for number in range(ROUNDS):
            models.append(taught(models[-1], 2**number / FIRST_STEPS, direction))
        found[direction] = models
    return found


def test_with_forward_kl_the_student_stays_the_teacher(rounds) -> None:
    """Up to revealed positions that are drawn apart from each other: of the second order in dt."""
    moved = {name: [np.abs(model - models[0]).max() for model in models] for name, models in rounds.items()}
    assert moved["forward"][1] < 2e-5
    assert moved["forward"][-1] < 2e-3
    assert all(r > 40 * f for f, r in zip(moved["forward"][1:], moved["reverse"][1:], strict=True))
    gains = [sample_log_likelihood(sampled(rounds[name][-1], NFE)) for name in ("forward", "reverse")]
    start = sample_log_likelihood(sampled(rounds["forward"][0], NFE))
    assert abs(gains[0] - start) < 0.01 * (gains[1] - start)


def test_with_reverse_kl_samples_become_likelier_in_every_round(rounds) -> None:
    for steps in (1, 4, NFE):
        found = [sample_log_likelihood(sampled(model, steps)) for model in rounds["reverse"]]
        assert np.all(np.diff(found) > 0)


def test_with_reverse_kl_coverage_worsens_from_the_third_round(rounds) -> None:
    lost = [coverage(sampled(model, NFE)) for model in rounds["reverse"]]
    assert lost[0] > lost[1] > lost[2], "sharpening first undoes what independent draws cost"
    assert lost[2] < lost[3] < lost[4] < lost[5]
    assert lost[4] > lost[0], "and in the end more is lost than was gained"


def test_what_likelihood_gains_entropy_loses(rounds) -> None:
    assert np.all(np.diff([entropy(sampled(model, NFE)) for model in rounds["reverse"]]) < 0)
