"""Weightings against float64 arithmetic, and what holds for any likelihoods."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tide_plugins.weightings import ByConfidence, ByProgress, Constant
from tide_specs import Mix, TeacherWeighting, WeightingContext

LIKELIHOOD = st.floats(-1e6, 0, width=32)


def asked(
    likelihoods: Tensor | list[list[float]], teacher: int = 0, progress: float = 0.3, t: Tensor | None = None
) -> WeightingContext:
    """A context of chunks whose likelihoods [c, T] are given."""
    table = torch.as_tensor(likelihoods, dtype=torch.float32)
    t = torch.linspace(0.1, 0.9, table.shape[0]) if t is None else t
    return WeightingContext(t=t, progress=progress, teacher=teacher, likelihoods=table)


def posterior(row: list[float], teacher: int, temperature: float) -> float:
    """T times the share of exp(LP / temperature) that one teacher has, in float64."""
    weights = [math.exp((value - max(row)) / temperature) for value in row]
    return len(row) * weights[teacher] / math.fsum(weights)


def all_factors(weighting: TeacherWeighting, likelihoods: Tensor) -> Tensor:
    """The factors [c, T] of every teacher that speaks about a chunk; 0 where one is silent."""
    return torch.stack([weighting.factor(asked(likelihoods, teacher)) for teacher in range(likelihoods.shape[1])], 1)


def tables(*, silent: bool) -> st.SearchStrategy[Tensor]:
    """Likelihoods [c, T] of up to five teachers, at least one of which speaks about each chunk."""
    value = st.one_of(LIKELIHOOD, st.just(-math.inf)) if silent else LIKELIHOOD

    def of(teachers: int) -> st.SearchStrategy[Tensor]:
        row = st.lists(value, min_size=teachers, max_size=teachers).filter(lambda row: max(row) > -math.inf)
        return st.lists(row, min_size=1, max_size=6).map(lambda rows: torch.tensor(rows, dtype=torch.float32))

    return st.integers(1, 5).flatmap(of)


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0, 3.0])
def test_a_constant_is_the_same_everywhere(value: float) -> None:
    for progress in (0.0, 0.5, 1.0):
        factor = Constant(value=value).factor(asked([[-1.0, -9.0], [-5.0, -math.inf]], progress=progress))
        np.testing.assert_array_equal(factor.double().numpy(), [value, value])


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("initial", "final"), [(0.0, 1.0), (2.0, 0.5), (0.3, 0.3)])
def test_progress_moves_the_factor_from_one_end_to_the_other(progress: float, initial: float, final: float) -> None:
    at = asked(torch.zeros(3, 2), progress=progress)
    shares = {"linear": progress, "cosine": math.sin(math.pi * progress / 2) ** 2}
    for shape, share in shares.items():
        factor = ByProgress.model_validate({"initial": initial, "final": final, "shape": shape}).factor(at)
        np.testing.assert_allclose(factor.double().numpy(), np.full(3, initial + (final - initial) * share), rtol=1e-6)


def test_one_teacher_fades_in_while_another_fades_out() -> None:
    for progress in np.linspace(0, 1, 7):
        at = asked(torch.zeros(2, 2), progress=float(progress))
        both = ByProgress(shape="cosine").factor(at) + ByProgress(initial=1, final=0, shape="cosine").factor(at)
        torch.testing.assert_close(both, torch.ones(2))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 20.0])
def test_confidence_is_the_posterior_probability_of_the_teacher(temperature: float) -> None:
    rows = [[-3.0, -5.0, -4.5], [-40.0, -41.0, -39.5], [-0.1, -math.inf, -2.0], [-7.0, -7.0, -7.0]]
    for teacher in range(3):
        factor = ByConfidence(temperature=temperature).factor(asked(rows, teacher))
        expected = [posterior(row, teacher, temperature) for row in rows]
        np.testing.assert_allclose(factor.double().numpy(), expected, rtol=1e-5)


def test_confidence_at_temperature_one_is_bayes_rule() -> None:
    """Two teachers give a text 1/8 and 3/8; equally likely beforehand, they wrote it with probability 1/4 and 3/4."""
    likelihoods = [[math.log(Fraction(1, 8)), math.log(Fraction(3, 8))]]
    first, second = (float(ByConfidence().factor(asked(likelihoods, teacher))) for teacher in (0, 1))
    assert (first, second) == pytest.approx((2 * 0.25, 2 * 0.75))


@settings(max_examples=100, deadline=None)
@given(table=tables(silent=True), temperature=st.floats(1e-3, 1e3))
def test_confidence_factors_add_up_to_the_number_of_teachers(table: Tensor, temperature: float) -> None:
    factors = all_factors(ByConfidence(temperature=temperature), table)
    torch.testing.assert_close(factors.sum(1), torch.full((len(table),), float(table.shape[1])))
    assert (factors[table == -math.inf] == 0).all()


@settings(max_examples=100, deadline=None)
@given(table=tables(silent=False))
def test_the_teacher_that_finds_the_text_likelier_is_listened_to_more(table: Tensor) -> None:
    factors = all_factors(ByConfidence(), table)
    order = table.sort(1).indices
    assert (factors.gather(1, order).diff(dim=1) >= -1e-6).all()


@pytest.mark.parametrize("temperature", [1e-38, 1.0, 1e30])
@pytest.mark.parametrize("floor", [-1e4, -1e30, -3e38])
def test_extreme_likelihoods_stay_finite(floor: float, temperature: float) -> None:
    table = torch.tensor([[floor, floor, -math.inf], [floor, -1.0, floor], [floor / 2, floor, floor]])
    factors = all_factors(ByConfidence(temperature=temperature), table)
    assert factors.isfinite().all()
    torch.testing.assert_close(factors.sum(1), torch.full((3,), 3.0))
    assert factors[0, 0] == factors[0, 1]


def test_a_high_temperature_treats_all_teachers_alike() -> None:
    factors = all_factors(ByConfidence(temperature=1e9), torch.tensor([[-1.0, -50.0, -9.0]]))
    torch.testing.assert_close(factors, torch.ones(1, 3))


def test_a_single_teacher_is_listened_to_as_it_is() -> None:
    torch.testing.assert_close(ByConfidence().factor(asked([[-3.0], [-80.0]])), torch.ones(2))


def test_confidence_is_for_all_teachers_or_for_none() -> None:
    every = Mix(components={"weighting": (ByConfidence(), ByConfidence(temperature=2.0))})
    some = Mix(components={"weighting": (ByConfidence(), Constant(), ByProgress())})
    assert list(ByConfidence().conflicts(every)) == []
    (sentence,) = ByConfidence().conflicts(some)
    assert "by_progress, constant" in sentence
    assert "give it to all of them" in sentence
