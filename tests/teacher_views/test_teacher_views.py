"""Teacher views: what each pass hides and answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tide_plugins.teacher_views import Complementary, Plain
from tide_specs import Side


class Draws:
    """Numbers that depend on (seed, row, purpose) alone."""

    def __init__(self, seed: int, rows: int) -> None:
        self.seed, self.rows = seed, rows

    def uniform(self, purpose: str, length: int) -> Tensor:
        rows = [np.random.default_rng([self.seed, b, *purpose.encode()]).random(length) for b in range(self.rows)]
        return torch.from_numpy(np.stack(rows))


def teacher_side(seed: int, rows: int = 3, length: int = 24) -> tuple[Side, Tensor]:
    """Random chunks of 1 to 4 tokens after a prompt of 3, and a random set of hidden chunks."""
    random = np.random.default_rng(seed)
    chunk, number = np.full((rows, length), -1), 0
    for b in range(rows):
        at = 3
        while at < length - 4:
            size = int(random.integers(1, 5))
            chunk[b, at : at + size] = number
            at, number = at + size + int(random.integers(0, 2)), number + 1
    ids = torch.zeros(rows, length, dtype=torch.int64)
    chunks = torch.from_numpy(chunk)
    hidden = torch.from_numpy(np.append(random.random(number) < 0.6, False))
    lengths = torch.full((rows,), length)
    return Side(ids=ids, maskable=chunks >= 0, lengths=lengths, chunk=chunks), hidden[chunks]


def test_plain_hides_and_answers_everything_masked() -> None:
    side, masked = teacher_side(0)
    (only,) = Plain().passes(side, masked, Draws(0, 3))
    assert (only.masked == masked).all()
    assert (only.counts == masked).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rho=st.floats(0.05, 0.95))
def test_complementary_passes_mirror_each_other(seed: int, rho: float) -> None:
    side, masked = teacher_side(seed)
    first, second = Complementary(rho=rho).passes(side, masked, Draws(seed, 3))
    assert not (first.counts & second.counts).any()
    assert ((first.counts | second.counts) == masked).all()
    for one in (first, second):
        assert (one.masked == one.counts).all()  # what a pass sees it does not answer
    for c in range(int(side.chunk.max()) + 1):
        assert first.counts[side.chunk == c].unique().numel() == 1


@pytest.mark.parametrize("rho", [0.2, 0.5])
def test_rho_is_the_share_that_the_first_pass_reveals(rho: float) -> None:
    rows, length = 400, 40
    chunk = torch.arange(rows * length).reshape(rows, length) // 2
    lengths = torch.full((rows,), length)
    side = Side(ids=chunk, maskable=chunk >= 0, lengths=lengths, chunk=chunk)
    first, _ = Complementary(rho=rho).passes(side, side.maskable, Draws(7, rows))
    revealed = 1 - float(first.masked.double().mean())
    assert revealed == pytest.approx(rho, abs=4.5 * (rho * (1 - rho) / (rows * length / 2)) ** 0.5)


def test_the_split_does_not_depend_on_the_batch() -> None:
    side, masked = teacher_side(3)
    both = Complementary().passes(side, masked, Draws(1, 3))
    alone = Side(ids=side.ids[:1], maskable=side.maskable[:1], lengths=side.lengths[:1], chunk=side.chunk[:1])
    single = Complementary().passes(alone, masked[:1], Draws(1, 1))
    for one, other in zip(both, single, strict=True):
        assert (one.masked[:1] == other.masked).all()
