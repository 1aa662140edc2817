"""Checks of architectures: decoding with a cache.

Shapes: B rows, n new tokens.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tide_specs.architecture import Architecture
from tide_specs.denoiser import Denoiser
from tide_specs.testing.closeness import expect_close
from tide_specs.testing.models import SAME, Problem, load, problem
from tide_specs.testing.outcome import CheckSkipped, expect


def check_session(architecture: Architecture) -> None:
    """Decoding with a cache gives what the full forward gives, row by row, block by block."""
    model = load(architecture)
    for rows, fed in _prefixes(model):
        session = _session(model, len(rows))
        longest = max(fed)
        given = problem(model, len(rows), blocks=3)
        session.extend(given.clean[:, :longest], torch.tensor(fed))
        expect(
            session.lengths.tolist() == fed,
            f"after extend() of {fed} tokens session.lengths is {session.lengths.tolist()}; count each row's own tokens.",
        )
        for attempt in range(2):
            _compare_step(model, session.hidden(_next(model, given, fed)), given, rows, fed, attempt)
        session.keep(torch.tensor([len(rows) - 1]))
        last = len(rows) - 1
        alone = Problem(given.clean[last:], given.noised[last:], given.masked[last:], given.lengths[last:])
        _compare_step(model, session.hidden(_next(model, alone, fed[last:])), alone, [0], fed[last:], 2)
        _extend_further(model, session, alone, fed[last])


def _session(model: Denoiser, rows: int) -> Any:
    try:
        return model.session(rows)
    except NotImplementedError as reason:
        raise CheckSkipped(f"no decoding session: {reason}") from reason


def _prefixes(model: Denoiser) -> Iterator[tuple[list[int], list[int]]]:
    """Rows, and how many tokens of each are fed: equal, and different, in whole blocks."""
    step = model.block_size or 3
    yield [0, 1], [step, step]
    yield [0, 1], [2 * step, step]


def _width(model: Denoiser) -> int:
    return model.block_size or (1 if model.form == "autoregressive" else 3)


def _next(model: Denoiser, given: Problem, fed: list[int]) -> Tensor:
    """The noised tokens behind each row's prefix."""
    width = _width(model)
    return torch.stack([given.noised[row, start : start + width] for row, start in enumerate(fed)])


def _full(model: Denoiser, given: Problem, row: int, start: int) -> Tensor:
    """What the full forward says of the tokens behind a clean prefix."""
    stop = start + _width(model)
    noised = given.clean[row : row + 1, :stop].clone()
    noised[0, start:] = given.noised[row, start:stop]
    with torch.no_grad():
        return model.hidden(noised, given.clean[row : row + 1, :stop], torch.tensor([stop]))[0, start:]


_STEPS = (
    "the session's prediction differs from the full forward; check positions, the Cached layout, and rows of different length",
    "asking a session twice gives two answers; hidden() must leave the cache as it was",
    "after keep() a row is answered differently; keep() must select rows of keys, values and lengths alike",
    "after more tokens the session's prediction differs from the full forward; extend() must append to what is cached",
)


def _compare_step(model: Denoiser, hidden: Tensor, given: Problem, rows: list[int], fed: list[int], step: int) -> None:
    for row in rows:
        expect_close(hidden[row], _full(model, given, row, fed[row]), _STEPS[step], **SAME)


def _extend_further(model: Denoiser, session: Any, given: Problem, fed: int) -> None:
    step = model.block_size or 1
    if fed + step + _width(model) > given.clean.shape[1]:
        return
    session.extend(given.clean[:1, fed : fed + step])
    _compare_step(model, session.hidden(_next(model, given, [fed + step])), given, [0], [fed + step], 3)
