"""The figures of a teacher's pass, per domain, from what it said of each chunk.

Shapes: C chunks. Entropies and logarithms are in nats. ``None`` where nothing is left to take a mean of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .figures import Flags
from .tables import Tables
from .teacher_pass import ChunkAnswers, Floats

FLOOR = 1e-10
"""Stands for a probability below it where a logarithm is taken, so that one impossible token does not decide a mean."""
VANISHING = 0.01
"""A gradient is called vanishing when it is smaller than this share of cross-entropy's."""
TEMPERATURES = (1, 2)
"""Of CALM, at which its gradient is looked at."""


def teacher_figures(tables: Tables, answers: ChunkAnswers, domain: str | None = None) -> dict[str, Any]:
    """Return the figures of one domain, or of all, as plain data; see docs/guide/alignment.md for each of them."""
    of_domain = np.array([domain in (None, name) for name in tables.domains], dtype=np.bool_)
    used = of_domain[tables.chunks.message] & ~tables.chunks.excluded & answers.answered
    count = len(tables.chunks.bytes)
    short = (tables.student.per_chunk(count) == 1) & (tables.teacher.per_chunk(count) > 1)
    return {
        "chunks": int(used.sum()),
        "log_likelihood": _mean(answers.log_likelihood[used]),
        "covered": _covered(answers, used),
        "entropy": _entropy(answers, used),
        "undershoot": _undershoot(answers, used, used & short),
        "vanishing": _vanishing(answers, used),
    }


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def _log(values: Floats) -> Floats:
    return np.log(np.maximum(values, FLOOR))


def _covered(answers: ChunkAnswers, used: Flags) -> dict[str, float | None]:
    """How much of the teacher's distribution lies on tokens that the student has too."""
    mass = answers.start("covered")[used]
    return {
        "mass": _mean(mass),
        "minus_log": _mean(-_log(mass)),
        "below_half": _mean(mass < 0.5),
        "top1_kept": _mean(answers.start("top_kept")[used]),
        "dropped_entropy": _mean(answers.start("dropped_entropy")[used]),
    }


def _entropy(answers: ChunkAnswers, used: Flags) -> dict[str, float | None]:
    """``lost_percent``: what the projection takes off the summed entropy, in percent of it."""
    before, after = answers.start("entropy")[used], answers.start("projected_entropy")[used]
    whole = float(before.sum())
    return {
        "teacher": _mean(before),
        "projected": _mean(after),
        "lost_percent": 100 * (whole - float(after.sum())) / whole if whole else None,
    }


def _undershoot(answers: ChunkAnswers, used: Flags, short: Flags) -> dict[str, float | None]:
    """Chunks of one student and several teacher tokens: the projected mass on the student token that the text has."""
    return {
        "chunks": _mean(short[used]),
        "log_mass_before": _mean(_log(answers.start("mass")[short])),
        "log_mass_after": _mean(_log(answers.start("corrected_mass")[short])),
        "log_likelihood": _mean(answers.log_likelihood[short]),
    }


def _vanishing(answers: ChunkAnswers, used: Flags) -> dict[str, float | None]:
    """Shares of chunks whose gradient vanishes, for a student that gives the text no probability yet.

    |d loss / d log p| there: 1 for cross-entropy; P^(1/T) / T for CALM at temperature T, where P is the teacher's likelihood
    of the chunk; for the projected forward KL the mass that the projection has on the student's token.
    """
    found = {f"calm_{t}": _mean(np.exp(answers.log_likelihood[used] / t) / t < VANISHING) for t in TEMPERATURES}
    for name, mass in (("projected", "mass"), ("corrected", "corrected_mass")):
        found[name] = _mean(answers.start(mass)[used] < VANISHING)
    return found
