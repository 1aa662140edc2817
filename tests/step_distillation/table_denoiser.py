"""A denoiser that looks its answers up, and what the step needs around it."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
import torch
from markov import HIDDEN, STATES, L, V, hidden_places
from torch import Tensor, nn

from tide_core.distillation import Distillation
from tide_core.method import Lesson, Method, terms_of
from tide_core.settings import Timesteps
from tide_plugins.corruptions import Absorbing
from tide_plugins.interpolations import Constant
from tide_plugins.losses import ReverseKL
from tide_plugins.schedules import Linear
from tide_specs import Batch, Denoiser, Draws, Head, NoiseSchedule, SequentialTeacherView, SharedColumns, Side


class Tokens:
    """As much of a tokenizer as a corruption asks for."""

    mask_token_id, vocabulary_size = HIDDEN, V + 1


class TableDenoiser(Denoiser):
    """States are log-probabilities [V + 1] from a table [S, L, V]; the head is the identity."""

    form = "bidirectional"

    def __init__(self, table: np.ndarray) -> None:
        self.module = nn.Module()
        logits = torch.full((*table.shape[:2], V + 1), -80.0)
        logits[..., :V] = torch.from_numpy(np.log(np.maximum(table, 1e-30)))
        # Whether the mask token is likely must not matter to what is drawn.
        logits[..., HIDDEN] = 3.0
        self.module.table = nn.Parameter(logits)
        self.mask_token_id, self.tokenizer = HIDDEN, Tokens()  # type: ignore[assignment]
        self.asked: list[Tensor] = []

    def hidden(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        self.asked.append(noised)
        radix = (V + 1) ** torch.arange(L - 1, -1, -1)
        return self.module.table[(noised * radix).sum(1)]

    def head(self) -> Head:
        return Head(torch.eye(V + 1))

    def save(self, path: str) -> None:
        raise NotImplementedError


class Scripted(SequentialTeacherView):
    """Reveals, in its first sub-step, what it is told to."""

    name: Literal["scripted"] = "scripted"
    chosen: tuple[tuple[int, ...], ...] = ()

    def reveal(self, step: int, side: Side, masked: Tensor, t: Tensor, schedule: NoiseSchedule, draws: Draws) -> Tensor:
        revealed = torch.zeros_like(masked)
        for row, places in enumerate(self.chosen):
            revealed[row, list(places)] = True
        return revealed


class GivenDraws:
    """Draws whose token numbers are given; everything else is 0.5."""

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens

    def uniform(self, purpose: str, length: int) -> Tensor:
        return self.tokens if purpose.startswith("token") else torch.full(self.tokens.shape, 0.5, dtype=torch.float64)


def batch_of(rows: int) -> Batch:
    """Rows of L tokens that are chunks of their own, alike on both sides."""
    chunk = torch.arange(rows * L).reshape(rows, L)
    side = Side(
        ids=torch.zeros(rows, L, dtype=torch.int64),
        maskable=torch.ones(rows, L, dtype=torch.bool),
        lengths=torch.full((rows,), L),
        chunk=chunk,
    )
    return Batch(
        student=side,
        teacher=side,
        chunk_bytes=torch.ones(rows * L, dtype=torch.int64),
        chunk_relation=torch.zeros(rows * L, dtype=torch.int64),
        samples=torch.arange(rows),
        positions=torch.arange(rows),
        effective_size=rows,
    )


def distillation(teacher: TableDenoiser, student: Denoiser, view: SequentialTeacherView, losses=None) -> Distillation:
    lesson = Lesson(
        teacher=teacher,
        view=view,
        interpolation=Constant(value=0.5),
        columns=SharedColumns(size=V),
    )
    method = Method(
        terms=terms_of(losses or [ReverseKL(temperature=1.0)]),
        schedule=Linear(),
        corruption=Absorbing(),
        interpolation=Constant(value=0.5),
        timesteps=Timesteps(),
        lessons=[lesson],
    )
    return Distillation(student, method, slice_elements=16)


def all_outcomes(state: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """What may be revealed of a state, and as which symbols."""
    places = hidden_places(state)
    found = []
    for choice in product((False, True), repeat=len(places)):
        chosen = tuple(place for place, taken in zip(places, choice, strict=True) if taken)
        found.extend((chosen, symbols) for symbols in product(range(V), repeat=len(chosen)))
    return found


__all__ = ["STATES", "GivenDraws", "Scripted", "TableDenoiser", "all_outcomes", "batch_of", "distillation"]
