"""Noise schedules against float64 oracles, finite differences, and at both ends of time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tide_plugins.schedules import (
    Clipped,
    Cosine,
    Linear,
    Logarithmic,
    LogLinear,
    MaskedCosine,
    Polynomial,
    tide_noise_schedules,
)
from tide_specs import NoiseSchedule

ORACLES: list[tuple[NoiseSchedule, object, object]] = [
    (Linear(), lambda t: 1 - t, lambda t: 1 / t),
    (Clipped(), lambda t: 1 - t, lambda t: 1 / t),
    (LogLinear(), lambda t: 1 - 0.999 * t, lambda t: 1 / t),
    (Cosine(), lambda t: 1 - np.cos(np.pi * (1 - t) / 2), lambda t: np.pi / 2 * np.tan(np.pi * (1 - t) / 2)),
    (
        MaskedCosine(),
        lambda t: 0.999 * np.cos(np.pi * t / 2),
        lambda t: 0.999 * np.pi / 2 * np.sin(np.pi * t / 2) / (1 - 0.999 * np.cos(np.pi * t / 2)),
    ),
    (MaskedCosine(eps=0), lambda t: np.cos(np.pi * t / 2), lambda t: np.pi / 2 / np.tan(np.pi * t / 4)),
    (Polynomial(), lambda t: 1 - t**2, lambda t: 2 / t),
    (Polynomial(exponent=0.5), lambda t: 1 - t**0.5, lambda t: 0.5 / t),
    (Polynomial(exponent=3), lambda t: 1 - t**3, lambda t: 3 / t),
    (Logarithmic(), lambda t: 1 - np.log2(1 + t), lambda t: 1 / ((1 + t) * np.log(1 + t))),
]
SCHEDULES = [row[0] for row in ORACLES]


def label(schedule: object) -> str:
    return repr(schedule) if isinstance(schedule, NoiseSchedule) else ""


def test_the_list_is_complete() -> None:
    assert {type(schedule) for schedule in SCHEDULES} == set(tide_noise_schedules())


@pytest.mark.parametrize(("schedule", "alpha", "weight"), ORACLES, ids=label)
def test_closed_forms(schedule: NoiseSchedule, alpha: object, weight: object) -> None:
    t = np.linspace(0.01, 0.99, 99)
    assert callable(alpha)
    assert callable(weight)
    np.testing.assert_allclose(schedule.alpha(torch.from_numpy(t)).numpy(), alpha(t), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(schedule.weight(torch.from_numpy(t)).numpy(), weight(t), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(t=st.floats(1e-3, 1 - 1e-3))
@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
def test_derivative_and_weight_agree_with_alpha(schedule: NoiseSchedule, t: float) -> None:
    at, step = torch.tensor([t], dtype=torch.float64), 1e-6
    slope = (schedule.alpha(at + step) - schedule.alpha(at - step)) / (2 * step)
    torch.testing.assert_close(schedule.alpha_prime(at), slope, rtol=1e-5, atol=1e-8)
    assert float(schedule.alpha_prime(at)) <= 0
    ratio = -schedule.alpha_prime(at) / (1 - schedule.alpha(at))
    torch.testing.assert_close(schedule.weight(at), ratio, rtol=1e-6, atol=1e-12)  # the ratio itself cancels near t = 0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
def test_single_precision_keeps_its_digits_at_both_ends(schedule: NoiseSchedule) -> None:
    t = torch.cat([torch.logspace(-5, -1, 200), 1 - torch.logspace(-7, -1, 200), torch.tensor([1.0])])
    exact = t.double()
    torch.testing.assert_close(schedule.weight(t).double(), schedule.weight(exact), rtol=2e-6, atol=1e-12)
    torch.testing.assert_close(schedule.alpha(t).double(), schedule.alpha(exact), rtol=2e-6, atol=1e-12)
    assert schedule.weight(t).min() >= 0
    assert schedule.weight(t).isfinite().all()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_alpha_falls_from_one_to_zero(schedule: NoiseSchedule, dtype: torch.dtype) -> None:
    alpha = schedule.alpha(torch.linspace(0, 1, 1001, dtype=dtype))
    assert 1 - 1e-3 <= float(alpha[0]) <= 1
    assert 0 <= float(alpha[-1]) <= 1e-3 + 1e-7
    assert (alpha.diff() <= 0).all()
    assert (alpha[::100].diff() < 0).all()


def test_the_two_cosines_are_unlike() -> None:
    half = torch.tensor([0.5], dtype=torch.float64)
    assert 1 - float(Cosine().alpha(half)) == pytest.approx(0.7071, abs=1e-4)
    assert 1 - float(MaskedCosine(eps=0).alpha(half)) == pytest.approx(0.2929, abs=1e-4)


def test_clipped_draws_from_its_interval_and_refuses_an_empty_one() -> None:
    assert Linear().interval() == (1e-3, 1.0)
    assert Clipped(beta=0.45, omega=0.95).interval() == (0.45, 0.95)
    with pytest.raises(ValidationError, match=r"beta \(0.8\) must be smaller than omega \(0.3\)"):
        Clipped(beta=0.8, omega=0.3)
