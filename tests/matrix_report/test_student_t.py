from __future__ import annotations

import math

import numpy as np
import pytest

from tide_core.matrix_report.student_t import quantile, two_sided


def tail_by_integration(statistic: float, degrees: float) -> float:
    """Both tails, from the density and Simpson's rule over ``x = tan(angle)``."""
    angle = np.linspace(math.atan(statistic), math.pi / 2, 200_001)[:-1]
    x = np.tan(angle)
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)
    values = scale * (1 + x * x / degrees) ** (-(degrees + 1) / 2) * (1 + x * x)
    step = angle[1] - angle[0]
    return 2 * float(values.sum() - values[0] / 2) * step


@pytest.mark.parametrize("degrees", [1.7, 4.0, 12.34, 250.0])
@pytest.mark.parametrize("statistic", [0.0, 0.3, 1.96, 6.0])
def test_tails_agree_with_the_integral_of_the_density(statistic: float, degrees: float) -> None:
    assert two_sided(-statistic, degrees) == pytest.approx(tail_by_integration(statistic, degrees), rel=2e-4, abs=1e-9)


@pytest.mark.parametrize(("degrees", "value"), [(1, 12.7062), (2, 4.30265), (5, 2.57058), (10, 2.22814), (30, 2.04227)])
def test_quantiles_agree_with_printed_tables(degrees: float, value: float) -> None:
    assert quantile(0.975, degrees) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("degrees", [1, 2, 3.3, 40, 1e5])
def test_a_quantile_is_the_inverse_of_the_tail(degrees: float) -> None:
    for probability in (0.6, 0.9, 0.975, 0.9999):
        assert two_sided(quantile(probability, degrees), degrees) == pytest.approx(2 * (1 - probability), rel=1e-8)


def test_the_closed_forms_for_one_and_two_degrees() -> None:
    assert two_sided(1.0, 1) == pytest.approx(0.5, rel=1e-12)
    assert two_sided(3.0, 2) == pytest.approx(1 - 3 / math.sqrt(11), rel=1e-12)
    assert two_sided(math.inf, 5) == 0
    assert two_sided(0.0, 5) == 1
