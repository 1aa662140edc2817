"""Noise schedules: how likely a token stays clean at time t."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import NoiseSchedule, hookimpl

from .cosine import Cosine, MaskedCosine
from .linear import Clipped, Linear, LogLinear
from .power import Logarithmic, Polynomial


@hookimpl
def tide_noise_schedules() -> Sequence[type[NoiseSchedule]]:
    """Contribute the bundled schedules."""
    return [Linear, Cosine, MaskedCosine, LogLinear, Polynomial, Logarithmic, Clipped]
