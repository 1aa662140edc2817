"""Checks of noise schedules. All tensors elementwise."""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import torch
from torch import Tensor

from tide_specs.schedule import NoiseSchedule
from tide_specs.testing.outcome import CheckFailed, expect

ENDS = 0.02
"""How far alpha may be from 1 at t = 0, and from 0 at t = 1."""
DERIVATIVE = 1e-4
"""Relative error against central differences in float64."""
WEIGHT = 1e-3
"""Relative error of the weight against -alpha' / (1 - alpha) in float64."""
PRECISION = 1e-2
"""Relative error of the weight in float32 over the training interval."""


def grid(points: int = 501, *, low: float = 1e-3, high: float = 1.0) -> Tensor:
    """Return times [points] in float64."""
    return torch.linspace(low, high, points, dtype=torch.float64)


def exercise(schedule: NoiseSchedule) -> None:
    """Call every method."""
    t = grid()
    schedule.alpha(t)
    schedule.alpha_prime(t)
    schedule.weight(t)
    schedule.interval()


def check_elementwise(schedule: NoiseSchedule) -> None:
    """Each result has the shape and the dtype of t, and each element depends on its own t."""
    t = grid(24).reshape(4, 6)
    for method in (schedule.alpha, schedule.alpha_prime, schedule.weight):
        for times in (t, t.float()):
            out = method(times)
            expect(
                isinstance(out, Tensor) and out.shape == times.shape and out.dtype == times.dtype,
                f"{method.__name__}(t) does not keep the shape and dtype of t; use elementwise operations on t itself "
                "(for a constant: t * 0 + c).",
            )
        expect(
            torch.allclose(method(t.flatten().flip(0)).flip(0).reshape(4, 6), method(t)),
            f"{method.__name__}(t) mixes elements of t; every time must be answered alone.",
        )


def check_end_points(schedule: NoiseSchedule) -> None:
    """alpha is about 1 at t = 0, about 0 at t = 1, and between them everywhere."""
    first, last = schedule.alpha(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
    expect(abs(first - 1) <= ENDS, f"alpha(0) is {first:.3g}; at t = 0 nothing is masked, so it must be about 1.")
    expect(abs(last) <= ENDS, f"alpha(1) is {last:.3g}; at t = 1 everything is masked, so it must be about 0.")
    alpha = schedule.alpha(grid(low=0.0))
    expect(
        ((alpha >= -1e-9) & (alpha <= 1 + 1e-9)).all(),
        f"alpha leaves [0, 1] (from {alpha.min().item():.3g} to {alpha.max().item():.3g}); it is a probability.",
    )


def check_monotone(schedule: NoiseSchedule) -> None:
    """alpha never rises, and its derivative is never positive."""
    t = grid()
    rise = schedule.alpha(t).diff()
    where = t[1:][rise > 1e-12]
    expect(
        len(where) == 0,
        f"alpha rises at t = {where[:1].tolist()}; more time must mean more noise. Is it the masking probability instead?",
    )
    expect(
        (schedule.alpha_prime(t) <= 1e-12).all(), "alpha_prime is positive somewhere; alpha falls, so check its sign."
    )


def check_derivative(schedule: NoiseSchedule) -> None:
    """alpha_prime is the derivative of alpha, against central differences."""
    t = grid(low=0.01, high=0.99)
    step = 1e-5
    numeric = (schedule.alpha(t + step) - schedule.alpha(t - step)) / (2 * step)
    error = (schedule.alpha_prime(t) - numeric).abs() / numeric.abs().clamp(min=1e-3)
    worst = int(error.argmax())
    expect(
        error[worst] < DERIVATIVE,
        f"alpha_prime({t[worst].item():.2f}) is {schedule.alpha_prime(t)[worst].item():.6g}, but alpha changes by "
        f"{numeric[worst].item():.6g} there; correct the derivative.",
    )


def check_weight(schedule: NoiseSchedule) -> None:
    """weight is -alpha' / (1 - alpha), and never negative."""
    t = grid(low=0.01, high=0.99)
    expected = -schedule.alpha_prime(t) / (1 - schedule.alpha(t))
    weight = schedule.weight(t)
    error = (weight - expected).abs() / expected.abs().clamp(min=1e-6)
    worst = int(error.argmax())
    expect(
        error[worst] < WEIGHT,
        f"weight({t[worst].item():.2f}) is {weight[worst].item():.6g}, but -alpha'/(1 - alpha) is "
        f"{expected[worst].item():.6g}; the cross-entropy would be no bound. Correct the closed form.",
    )


def check_weight_is_finite(schedule: NoiseSchedule) -> None:
    """The weight is finite and accurate in float32 near t = 0 and t = 1, where naive forms divide by zero."""
    low, high = schedule.interval()
    edges = torch.tensor([1e-6, 1e-4, low, 0.5, high, 1 - 1e-6, 1.0]).clamp(min=1e-6)
    weight = schedule.weight(edges)
    bad = edges[~weight.isfinite() | (weight < 0)]
    expect(
        len(bad) == 0,
        f"weight is infinite, undefined or negative at t = {[f'{t:.6g}' for t in bad.tolist()]} in float32 (1 - alpha rounds "
        "to 0 there); override weight with a closed form.",
    )
    t = torch.linspace(max(low, 1e-3), high, 200)
    exact = schedule.weight(t.double())
    error = (schedule.weight(t).double() - exact).abs() / exact.abs().clamp(min=1e-6)
    worst = int(error.argmax())
    if error[worst] > PRECISION and exact[worst] > 1e-3:
        raise CheckFailed(
            f"weight({t[worst].item():.4g}) loses its digits in float32 ({100 * error[worst].item():.1f} % off), because 1 - alpha "
            "cancels near t = 0; override weight with a closed form."
        )


def check_interval(schedule: NoiseSchedule) -> None:
    """The training interval lies in [0, 1] and is not empty."""
    low, high = schedule.interval()
    expect(0 <= low < high <= 1, f"interval() is ({low}, {high}); it must satisfy 0 <= low < high <= 1.")
