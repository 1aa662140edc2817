"""Student's t distribution with any positive number of degrees of freedom: its tail and its quantiles, in float64."""

from __future__ import annotations

import math

SMALLEST = 1e-300
PRECISION = 1e-15
TERMS = 500


def two_sided(statistic: float, degrees: float) -> float:
    """Return the probability that ``|T|`` is at least ``|statistic|``."""
    if math.isinf(statistic):
        return 0.0
    square = statistic * statistic
    return incomplete_beta(degrees / (degrees + square), degrees / 2, 0.5, complement=square / (degrees + square))


def quantile(probability: float, degrees: float) -> float:
    """Return the value that ``T`` stays below with a probability of at least one half."""
    tail = 2 * (1 - probability)
    low, high = 0.0, 1.0
    while two_sided(high, degrees) > tail:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if two_sided(middle, degrees) > tail else (low, middle)
    return high


def incomplete_beta(x: float, a: float, b: float, *, complement: float | None = None) -> float:
    """Return the regularised incomplete beta function ``I_x(a, b)``.

    complement: ``1 - x``, where the caller knows it more exactly. Source: the continued fraction of the NIST Digital
    Library of Mathematical Functions, 8.17.22, evaluated by Lentz's method.
    """
    rest = 1 - x if complement is None else complement
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(rest, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > SMALLEST else SMALLEST
