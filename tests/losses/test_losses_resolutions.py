"""CALM over chunks, words and lines against a float64 oracle that loops over the spans."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tide_plugins.losses import BernoulliKL, Calm, CalmTidal, MultiResolutionCalm, ReverseCalm
from tide_plugins.losses.spans import mean_over_spans
from tide_specs import ChunkContext, Mix
from tide_specs.testing.contexts import chunk_context

STUDENT = np.array([-0.3, -2.5, -0.7, -6.0, -1.0, -0.01, -3.0, -0.2])
TEACHER = np.array([-0.2, -0.9, -4.0, -2.0, -1.5, -0.02, -0.1, -5.0])
WORD = np.array([3, 3, 4, 7, 7, 7, 9, 12])
LINE = np.array([1, 1, 1, 5, 5, 5, 5, 6])
Direction = Literal["forward", "reverse"]
CASES: list[MultiResolutionCalm] = [
    MultiResolutionCalm(objective=objective, direction=direction, temperature=temperature, chunks=0.5, words=2.0)
    for objective in ("calm", "bernoulli_kl")
    for direction in ("forward", "reverse")
    for temperature in (1.0, 5.0)
]


def label(loss: MultiResolutionCalm) -> str:
    return f"{loss.objective}-{loss.direction}-{loss.temperature}"


def at(word: np.ndarray = WORD, line: np.ndarray = LINE) -> ChunkContext:
    return chunk_context(len(word), spans={"word": torch.from_numpy(word), "line": torch.from_numpy(line)})


def term(loss: MultiResolutionCalm, lps: float, lpt: float) -> float:
    ps, pt = np.exp(lps / loss.temperature), np.exp(lpt / loss.temperature)
    weighing, other = (pt, ps) if loss.direction == "forward" else (ps, pt)
    value = -(weighing * np.log(other) + (1 - weighing) * np.log(1 - other))
    if loss.objective == "bernoulli_kl":
        value += weighing * np.log(weighing) + (1 - weighing) * np.log(1 - weighing)
    return float(value)


def oracle(loss: MultiResolutionCalm) -> np.ndarray:
    found = []
    for i in range(len(STUDENT)):
        total = loss.chunks * term(loss, STUDENT[i], TEACHER[i])
        for share, span in ((loss.words, WORD), (loss.lines, LINE)):
            members = [j for j in range(len(span)) if span[j] == span[i]]
            n = len(members)
            total += share * term(loss, sum(STUDENT[j] for j in members) / n, sum(TEACHER[j] for j in members) / n)
        found.append(total / (loss.chunks + loss.words + loss.lines))
    return np.array(found)


@pytest.mark.parametrize("loss", CASES, ids=label)
def test_value_equals_the_definition(loss: MultiResolutionCalm) -> None:
    s, t = torch.from_numpy(STUDENT), torch.from_numpy(TEACHER)
    np.testing.assert_allclose(loss.per_chunk(s, t, at()).numpy(), oracle(loss), rtol=1e-10)
    np.testing.assert_allclose(loss.per_chunk(s.float(), t.float(), at()).numpy(), oracle(loss), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("loss", CASES, ids=label)
def test_gradient_equals_finite_differences(loss: MultiResolutionCalm) -> None:
    s, t = torch.from_numpy(STUDENT).requires_grad_(), torch.from_numpy(TEACHER).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss.per_chunk(x, t.detach(), at()), (s,))
    loss.per_chunk(s, t, at()).sum().backward()
    assert t.grad is None


@pytest.mark.parametrize("size", [1, 4, 40])
@pytest.mark.parametrize("shares", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 2.0, 3.0)])
def test_the_length_of_a_line_multiplies_no_gradient(size: int, shares: tuple[float, float, float]) -> None:
    chunks, words, lines = shares
    s = torch.full((size,), -2.0, dtype=torch.float64, requires_grad=True)
    t = torch.full((size,), -0.5, dtype=torch.float64)
    same = np.zeros(size, dtype=np.int64)
    loss = MultiResolutionCalm(objective="bernoulli_kl", chunks=chunks, words=words, lines=lines)
    loss.per_chunk(s, t, at(same, same)).sum().backward()
    alone = s.detach()[:1].requires_grad_()
    BernoulliKL(direction="reverse").per_chunk(alone, t[:1], at()).sum().backward()
    assert s.grad is not None and alone.grad is not None
    torch.testing.assert_close(s.grad, alone.grad.expand(size))


def test_a_long_line_still_tells_a_good_teacher_from_a_bad_one() -> None:
    # The likelihood of thirty chunks is e^-60 or less on both sides; what an average chunk is worth still differs.
    s = torch.full((30,), -2.0, dtype=torch.float64, requires_grad=True)
    same = np.zeros(30, dtype=np.int64)
    loss = MultiResolutionCalm(chunks=0.0, words=0.0)
    for teacher, sign in ((-0.5, -1), (-4.0, 1)):
        values = loss.per_chunk(s, torch.full((30,), teacher, dtype=torch.float64), at(same, same))
        (gradient,) = torch.autograd.grad(values.sum(), s)
        assert (gradient * sign > 0.05).all()


@pytest.mark.parametrize(
    ("loss", "plain"),
    [
        (MultiResolutionCalm(direction="forward"), Calm()),
        (MultiResolutionCalm(), ReverseCalm()),
        (MultiResolutionCalm(objective="bernoulli_kl", temperature=5), BernoulliKL(direction="reverse", temperature=5)),
        (MultiResolutionCalm(clamp=1e-3), ReverseCalm(clamp=1e-3)),
    ],
    ids=["calm", "reverse_calm", "bernoulli_kl", "clamp"],
)
def test_spans_of_one_chunk_give_the_plain_objective(loss: MultiResolutionCalm, plain: Calm) -> None:
    s, t, each = torch.from_numpy(STUDENT), torch.from_numpy(TEACHER), np.arange(len(STUDENT))
    torch.testing.assert_close(loss.per_chunk(s, t, at(each, each)), plain.per_chunk(s, t, at()))


def test_independent_errors_of_chunks_average_out_over_a_line() -> None:
    # A student that is right on average has a gradient at chunks, and next to none at a line.
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.5
    t = torch.full((400,), -2.0, dtype=torch.float64)
    same = np.zeros(400, dtype=np.int64)
    sizes = []
    for shares in ({"words": 0.0, "lines": 0.0}, {"chunks": 0.0, "words": 0.0}):
        s = (t + noise - noise.mean()).requires_grad_()
        loss = MultiResolutionCalm(objective="bernoulli_kl", **shares)
        (gradient,) = torch.autograd.grad(loss.per_chunk(s, t, at(same, same)).sum(), s)
        sizes.append(float(gradient.abs().mean()))
    assert sizes[0] > 0.01
    assert sizes[1] < 1e-12


def test_means_over_spans_need_only_neighbours_to_differ() -> None:
    values, span = torch.tensor([1.0, 3.0, 5.0, 7.0]), torch.tensor([9, 9, 12, 40])
    assert mean_over_spans(values, span).tolist() == [2, 2, 5, 7]
    assert mean_over_spans(values[:0], span[:0]).tolist() == []
    assert mean_over_spans(values.bfloat16(), span).dtype == torch.float32


def test_shares_that_are_all_zero_are_refused() -> None:
    with pytest.raises(ValidationError, match="all 0, so nothing would be learned"):
        MultiResolutionCalm(chunks=0, words=0, lines=0)


def test_only_its_reverse_direction_clashes_with_an_interpolated_target() -> None:
    for loss, objections in ((MultiResolutionCalm(), 1), (MultiResolutionCalm(direction="forward"), 0)):
        mix = Mix(components={"loss": [CalmTidal(), loss]})
        assert len(list(CalmTidal().conflicts(mix))) == objections
