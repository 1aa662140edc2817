"""The likelihood bound, exactly, on a distribution small enough to enumerate.

A model that knows the true conditional of each hidden unit must have a bound equal to the negative log-likelihood, for every
text. Every mask of the corruption is enumerated by the draws that cause it, and the integral over t taken by quadrature.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from corruption_toys import ToyTokenizer, batch
from torch import Tensor

from tide_plugins.corruptions import Absorbing
from tide_plugins.schedules import Cosine, Linear, Logarithmic, MaskedCosine, Polynomial
from tide_specs import NoiseSchedule

JOINT = np.random.default_rng(0).dirichlet(np.ones(8)).reshape(2, 2, 2)  # p(x0, x1, x2); x0 and x1 make one chunk
TOKENS, FIRST = 3, 2  # the chunk of two and a token outside chunks, after a prompt of two


@dataclass(frozen=True)
class Forced:
    """The draws of 2^3 rows, in which row r hides token i exactly when bit i of r is set, if alpha is strictly inside (0, 1)."""

    patterns: Tensor

    def uniform(self, purpose: str, length: int) -> Tensor:
        drawn = torch.full((len(self.patterns), length), 1 - 1e-15, dtype=torch.float64)
        drawn[:, FIRST : FIRST + TOKENS][self.patterns] = 0.0
        return drawn


def conditional(text: tuple[int, ...], hidden: tuple[bool, ...], units: list[tuple[int, ...]]) -> list[float]:
    """-log p(unit | what is visible) for every unit, nan for visible ones; a unit's tokens are predicted jointly."""
    visible = [i for i in range(TOKENS) if not hidden[i]]

    def probability(known: list[int]) -> float:
        return float(JOINT[tuple(text[i] if i in known else slice(None) for i in range(TOKENS))].sum())

    return [
        -np.log(probability(visible + list(unit)) / probability(visible)) if hidden[unit[0]] else np.nan
        for unit in units
    ]


def bound(corruption: Absorbing, schedule: NoiseSchedule, text: tuple[int, ...]) -> float:
    """The integral over t of E over masks of the sum over hidden units of weight * -log p(unit | visible)."""
    rows = batch([[2]] * 8, [[1]] * 8, lengths=(FIRST + TOKENS, 6))
    patterns = torch.tensor(list(itertools.product([False, True], repeat=TOKENS)))
    units = [(0, 1), (2,)]
    nodes, factors = np.polynomial.legendre.leggauss(400)
    # t = u^3 gathers nodes near 0, where polynomial schedules mask almost nothing and weights are large.
    u, du = (nodes + 1) / 2, factors / 2
    total = 0.0
    for t, dt in zip(u**3, 3 * u**2 * du, strict=True):
        q = 1 - float(schedule.alpha(torch.tensor(t, dtype=torch.float64)))
        # float64 times: the contract's float32 would blur the quadrature, not the corruption.
        made = corruption.corrupt(
            rows,
            torch.full((8, FIRST + TOKENS), t, dtype=torch.float64),
            schedule,
            Forced(patterns),
            ToyTokenizer(),
            ToyTokenizer(),
        )
        for row, drawn in enumerate(patterns.tolist()):
            if corruption.masking == "token":
                chance = np.prod([q if hit else 1 - q for hit in drawn])
            else:  # only the draw of each unit's first token matters; the other one is free
                chance = np.prod([q if drawn[unit[0]] else 1 - q for unit in units]) / 2
            hidden = tuple(made.student.masked[row, FIRST : FIRST + TOKENS].tolist())
            for unit, nll in zip(units, conditional(text, hidden, units), strict=True):
                if hidden[unit[0]]:
                    total += dt * chance * float(made.student.weight[row, FIRST + unit[0]]) * nll
    return total


EXACT = [Absorbing(), Absorbing(masking="token")]


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), Polynomial(), Logarithmic()], ids=lambda s: s.name)
@pytest.mark.parametrize("corruption", EXACT, ids=lambda c: c.masking)
def test_the_bound_is_the_negative_log_likelihood(corruption: Absorbing, schedule: NoiseSchedule) -> None:
    for text in [(0, 0, 0), (1, 0, 1)]:
        assert bound(corruption, schedule, text) == pytest.approx(-np.log(JOINT[text]), rel=2e-4)


def test_the_published_weight_overstates_it() -> None:
    text = (1, 0, 1)
    published = bound(Absorbing(masking="token", correct_weight=False), Linear(), text)
    assert published > -np.log(JOINT[text]) * 1.2


def test_a_schedule_that_masks_at_time_zero_loses_only_that_much() -> None:
    text = (0, 1, 1)
    assert bound(Absorbing(), MaskedCosine(), text) == pytest.approx(-np.log(JOINT[text]), rel=5e-3)
