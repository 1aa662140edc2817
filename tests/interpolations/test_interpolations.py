"""Interpolation weights against the paper's equations 1 and 2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tide_plugins.interpolations import Constant, DualAxis, TimestepOnly, TrainingOnly
from tide_specs import Interpolation

T = np.linspace(0.001, 1.0, 12)


def lambda_train(p: float, low: float = 0.1, high: float = 0.9) -> float:
    return low + (high - low) * 0.5 * (1 - np.cos(np.pi * p))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_weights_equal_the_equations(p: float) -> None:
    t = torch.from_numpy(T)
    np.testing.assert_allclose(DualAxis().weight(p, t).numpy(), lambda_train(p) * (1 - T), rtol=1e-12)
    np.testing.assert_allclose(TrainingOnly().weight(p, t).numpy(), np.full(12, lambda_train(p)), rtol=1e-12)
    np.testing.assert_allclose(TimestepOnly().weight(p, t).numpy(), 0.9 * (1 - T), rtol=1e-12)
    np.testing.assert_allclose(Constant(value=0.3).weight(p, t).numpy(), np.full(12, 0.3), rtol=1e-12)
    straight = TrainingOnly(ramp="linear", initial=0.2, maximum=0.6)
    np.testing.assert_allclose(straight.weight(p, t).numpy(), np.full(12, 0.2 + 0.4 * p), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(p=st.floats(0, 1), low=st.floats(0, 1), high=st.floats(0, 1), ramp=st.sampled_from(["cosine", "linear"]))
def test_weights_stay_between_zero_and_one(p: float, low: float, high: float, ramp: str) -> None:
    t = torch.linspace(0, 1, 9)
    options = {"initial": low, "maximum": high, "ramp": ramp}
    mixes: list[Interpolation] = [DualAxis.model_validate(options), TrainingOnly.model_validate(options)]
    for interpolation in (*mixes, TimestepOnly(maximum=high), Constant(value=low)):
        weight = interpolation.weight(p, t)
        assert weight.shape == t.shape
        assert weight.dtype == t.dtype
        assert ((weight >= 0) & (weight <= 1 + 1e-6)).all()


def test_the_teacher_gains_weight_with_training_and_loses_it_with_noise() -> None:
    t = torch.linspace(0, 1, 9)
    early, late = DualAxis().weight(0.1, t), DualAxis().weight(0.8, t)
    assert (late[:-1] > early[:-1]).all()
    assert (late.diff() < 0).all()
