"""A small Markov source, its exact denoiser, and exact step distillation by enumeration, all in float64.

Written from the definitions, without the code under test. V symbols, L positions, S = (V + 1)^L states: texts in which
some positions are hidden (symbol V). A denoiser is a table [S, L, V] of probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations, pairwise, product

import numpy as np

V, L = 2, 4
HIDDEN = V
START = np.array([0.7, 0.3])
MOVES = np.array([[0.85, 0.15], [0.3, 0.7]])
STATES = list(product(range(V + 1), repeat=L))
NUMBER = {state: number for number, state in enumerate(STATES)}
TEXTS = list(product(range(V), repeat=L))
TIMES = (np.arange(400) + 0.5) / 400


def source() -> np.ndarray:
    """Probability of each of TEXTS."""
    found = []
    for text in TEXTS:
        p = START[text[0]]
        for a, b in pairwise(text):
            p *= MOVES[a, b]
        found.append(p)
    return np.array(found)


def true_denoiser() -> np.ndarray:
    """[S, L, V]: p(x_i | what is visible) under the source; one where a position is visible."""
    p, table = source(), np.zeros((len(STATES), L, V))
    for number, state in enumerate(STATES):
        for text, share in zip(TEXTS, p, strict=True):
            if all(seen in (HIDDEN, symbol) for seen, symbol in zip(state, text, strict=True)):
                for place, symbol in enumerate(text):
                    table[number, place, symbol] += share
    return table / table.sum(2, keepdims=True)


def hidden_places(state: tuple[int, ...]) -> list[int]:
    return [place for place, symbol in enumerate(state) if symbol == HIDDEN]


def subsets(places: list[int]) -> Iterator[tuple[int, ...]]:
    for size in range(len(places) + 1):
        yield from combinations(places, size)


def filled(state: tuple[int, ...], places: tuple[int, ...], symbols: tuple[int, ...]) -> tuple[int, ...]:
    changed = list(state)
    for place, symbol in zip(places, symbols, strict=True):
        changed[place] = symbol
    return tuple(changed)


@cache
def time_weights(hidden: int) -> np.ndarray:
    """How likely each of TIMES is for a text of which so many positions are hidden, t uniform, linear schedule."""
    weights = TIMES**hidden * (1 - TIMES) ** (L - hidden)
    return weights / weights.sum()


def outcomes(teacher: np.ndarray, state: tuple[int, ...], dt: float) -> Iterator[tuple[float, np.ndarray]]:
    """Two steps of the ancestral sampler from a state: yield (probability, the teacher's answers [L, V]).

    The first step reveals each hidden position with probability dt / t (1 where t <= dt); what it reveals keeps the first
    answer, the rest takes the second.
    """
    places, here = hidden_places(state), NUMBER[state]
    share = np.minimum(1.0, dt / TIMES)
    for chosen in subsets(places):
        left = len(places) - len(chosen)
        p_chosen = float((time_weights(len(places)) * share ** len(chosen) * (1 - share) ** left).sum())
        for symbols in product(range(V), repeat=len(chosen)):
            p = p_chosen * float(np.prod([teacher[here, i, v] for i, v in zip(chosen, symbols, strict=True)]))
            after = NUMBER[filled(state, chosen, symbols)]
            answers = teacher[after].copy()
            for place in chosen:
                answers[place] = teacher[here, place]
            yield p, answers


def taught(teacher: np.ndarray, dt: float, direction: str) -> np.ndarray:
    """The student that minimises the expected divergence to the teacher's answers, exactly.

    forward KL(p || q): the mean of p; reverse KL(q || p): proportional to exp(mean log p).
    """
    student = teacher.copy()
    for number, state in enumerate(STATES):
        if not hidden_places(state):
            continue
        total = np.zeros((L, V))
        for p, answers in outcomes(teacher, state, dt):
            total += p * (answers if direction == "forward" else np.log(np.maximum(answers, 1e-300)))
        best = total if direction == "forward" else np.exp(total)
        for place in hidden_places(state):
            student[number, place] = best[place] / best[place].sum()
    return student


def sampled(denoiser: np.ndarray, steps: int) -> np.ndarray:
    """Distribution over TEXTS of what the ancestral sampler writes in so many even steps from t = 1 to 0."""
    mass = np.zeros(len(STATES))
    mass[NUMBER[(HIDDEN,) * L]] = 1.0
    for step in range(steps):
        t, s = 1 - step / steps, 1 - (step + 1) / steps
        mass = _one_step(denoiser, mass, (t - s) / t)
    return np.array([mass[NUMBER[text]] for text in TEXTS])


def _one_step(denoiser: np.ndarray, mass: np.ndarray, share: float) -> np.ndarray:
    after = np.zeros_like(mass)
    for number, state in enumerate(STATES):
        if mass[number] == 0:
            continue
        places = hidden_places(state)
        for chosen in subsets(places):
            p_chosen = share ** len(chosen) * (1 - share) ** (len(places) - len(chosen))
            if p_chosen == 0:
                continue
            for symbols in product(range(V), repeat=len(chosen)):
                p = np.prod([denoiser[number, i, v] for i, v in zip(chosen, symbols, strict=True)])
                after[NUMBER[filled(state, chosen, symbols)]] += mass[number] * p_chosen * p
    return after


def sample_log_likelihood(written: np.ndarray) -> float:
    """Mean log-likelihood, under the source, of what was written, in nats: higher is taken for better."""
    return float((written * np.log(source())).sum())


def coverage(written: np.ndarray) -> float:
    """KL(source || written) in nats: what the source says and the writer does not."""
    p = source()
    return float((p * np.log(p / written)).sum())


def entropy(written: np.ndarray) -> float:
    """Of what was written, in nats."""
    return float(-(written * np.log(written)).sum())
