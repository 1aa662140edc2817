"""Holm's correction for many comparisons.

It bounds the probability of one or more false findings, whatever the comparisons have in common; here they share
baselines and documents, which the Benjamini-Hochberg procedure would have to assume harmless.
"""

from __future__ import annotations

from collections.abc import Sequence


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return adjusted p-values, in the same order (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    count = len(probabilities)
    order = sorted(range(count), key=lambda index: probabilities[index])
    adjusted, largest = [0.0] * count, 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (count - place) * probabilities[index]))
        adjusted[index] = largest
    return adjusted
