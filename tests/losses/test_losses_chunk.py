"""Losses on chunk likelihoods against float64 oracles written from the paper's equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tide_plugins.losses import BernoulliKL, Calm, CalmTidal, ReverseCalm
from tide_plugins.losses.bernoulli import log1mexp
from tide_specs import ChunkContext, ChunkLoss

LOSSES: list[ChunkLoss] = [
    Calm(),
    Calm(temperature=5.0),
    ReverseCalm(),
    ReverseCalm(temperature=5.0),
    BernoulliKL(),
    BernoulliKL(temperature=1.0),
    BernoulliKL(direction="reverse"),
    CalmTidal(),
]


def label(loss: ChunkLoss) -> str:
    return f"{loss.name}-{loss.direction}-{loss.temperature}"  # type: ignore[attr-defined]


def context(c: int, dtype: torch.dtype = torch.float64, interpolation: float = 0.4) -> ChunkContext:
    ones, count = torch.ones(c, dtype=dtype), torch.ones(c, dtype=torch.int64)
    return ChunkContext(
        t=ones * 0.5,
        schedule_weight=ones,
        interpolation=ones * interpolation,
        student_tokens=count,
        teacher_tokens=count,
        bytes=count,
        relation=count,
        progress=0.5,
    )


def oracle(loss: ChunkLoss, lps: np.ndarray, lpt: np.ndarray, lam: float) -> np.ndarray:
    temperature = loss.temperature  # type: ignore[attr-defined]
    ps, pt = np.exp(lps / temperature), np.exp(lpt / temperature)
    if isinstance(loss, Calm):
        return -(pt * np.log(ps) + (1 - pt) * np.log(1 - ps))
    if isinstance(loss, ReverseCalm):
        return -(ps * np.log(pt) + (1 - ps) * np.log(1 - pt))
    if isinstance(loss, CalmTidal):
        mixed = (1 - lam) * ps + lam * pt
        return -(mixed * np.log(ps) + (1 - mixed) * np.log(1 - ps))
    a, b = (pt, ps) if loss.direction == "forward" else (ps, pt)
    return a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))


STUDENT = np.array([-0.01, -0.3, -0.7, -1.0, -2.5, -6.0, -12.0])
TEACHER = np.array([-4.0, -0.02, -0.7, -3.0, -0.4, -9.0, -1.0])


@pytest.mark.parametrize("loss", LOSSES, ids=label)
def test_value_equals_the_equation(loss: ChunkLoss) -> None:
    s, t = torch.from_numpy(STUDENT), torch.from_numpy(TEACHER)
    expected = oracle(loss, STUDENT, TEACHER, 0.4)
    np.testing.assert_allclose(loss.per_chunk(s, t, context(7)).numpy(), expected, rtol=1e-10, atol=1e-14)
    single = loss.per_chunk(s.float(), t.float(), context(7, torch.float32))
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES[:7], ids=label)
def test_gradient_equals_finite_differences(loss: ChunkLoss) -> None:
    s, t = torch.from_numpy(STUDENT).requires_grad_(), torch.from_numpy(TEACHER)
    assert torch.autograd.gradcheck(lambda x: loss.per_chunk(x, t, context(7)), (s,))


def test_calm_tidal_holds_its_target_constant() -> None:
    # d/dx of -(m x + (1 - m) log(1 - e^x)) with m fixed is (p - m) / (1 - p); x = lp / T.
    s, t = torch.from_numpy(STUDENT).requires_grad_(), torch.from_numpy(TEACHER)
    CalmTidal().per_chunk(s, t, context(7)).sum().backward()
    ps, pt = np.exp(STUDENT / 2), np.exp(TEACHER / 2)
    mixed = 0.6 * ps + 0.4 * pt
    assert s.grad is not None
    np.testing.assert_allclose(s.grad.numpy(), (ps - mixed) / (1 - ps) / 2, rtol=1e-9)


def test_calm_tidal_is_calm_when_lambda_is_one() -> None:
    s, t = torch.from_numpy(STUDENT), torch.from_numpy(TEACHER)
    at = context(7, interpolation=1.0)
    torch.testing.assert_close(CalmTidal().per_chunk(s, t, at), Calm().per_chunk(s, t, at))


def minimiser(loss: ChunkLoss, pt: float) -> float:
    """The student's p that makes the loss smallest, by a fine grid."""
    p = torch.arange(1, 10_000, dtype=torch.float64) / 10_000
    temperature = loss.temperature  # type: ignore[attr-defined]
    teacher = torch.full_like(p, pt).log() * temperature
    return float(p[loss.per_chunk(p.log() * temperature, teacher, context(len(p))).argmin()])


def test_where_each_objective_leads_the_student() -> None:
    assert minimiser(ReverseCalm(), 0.7) > 0.999  # as published: to the extreme, not to the teacher
    assert minimiser(ReverseCalm(), 0.3) < 0.001
    for loss in (Calm(), BernoulliKL(), BernoulliKL(direction="reverse")):
        assert minimiser(loss, 0.7) == pytest.approx(0.7, abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_reverse_calm_decides_at_half_to_the_power_of_the_temperature(temperature: float) -> None:
    threshold = 0.5**temperature
    student = torch.full((2,), -1.0, dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([threshold * 1.01, threshold * 0.99], dtype=torch.float64).log()
    ReverseCalm(temperature=temperature).per_chunk(student, teacher, context(2)).sum().backward()
    assert student.grad is not None
    assert student.grad[0] < 0 < student.grad[1]  # pushed up above the threshold, down below


def test_reverse_calm_lacks_exactly_the_students_entropy() -> None:
    s, t = torch.from_numpy(STUDENT), torch.from_numpy(TEACHER)
    ps = np.exp(STUDENT / 2)
    entropy = -(ps * np.log(ps) + (1 - ps) * np.log(1 - ps))
    difference = ReverseCalm().per_chunk(s, t, context(7)) - BernoulliKL(direction="reverse").per_chunk(
        s, t, context(7)
    )
    np.testing.assert_allclose(difference.numpy(), entropy, rtol=1e-9)


def test_published_clamp_reproduces_and_loses_the_gradient_where_the_student_is_worst() -> None:
    s = torch.tensor([-80.0, -1.0], requires_grad=True)
    t = torch.tensor([-0.1, -0.1])
    clamped = Calm(clamp=1e-7).per_chunk(s, t, context(2, torch.float32))
    p = np.clip(np.exp(np.array([-80.0, -1.0]) / 2), 1e-7, 1 - 1e-7)
    pt = math.exp(-0.05)
    np.testing.assert_allclose(clamped.detach().numpy(), -(pt * np.log(p) + (1 - pt) * np.log(1 - p)), rtol=1e-5)
    (gradient,) = torch.autograd.grad(clamped.sum(), s)
    assert gradient[0] == 0
    (gradient,) = torch.autograd.grad(Calm().per_chunk(s, t, context(2, torch.float32)).sum(), s)
    assert gradient[0] == pytest.approx(-pt / 2, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=label)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certain_impossible_and_rounded_chunks_stay_finite(loss: ChunkLoss, dtype: torch.dtype) -> None:
    values = torch.tensor([0.0, -0.0, 0.0039, 1e-9, -1e-30, -1e-9, -1e-4, -1.0, -90.0, -2e4], dtype=dtype)
    s = values.repeat_interleave(len(values)).requires_grad_()
    t = values.repeat(len(values))
    losses = loss.per_chunk(s, t, context(len(s), dtype))
    (gradient,) = torch.autograd.grad(losses.sum(), s)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES[:7], ids=label)
def test_a_certain_student_still_feels_an_unsure_teacher(loss: ChunkLoss) -> None:
    s = torch.tensor([0.0, 0.0039, -1e-9], requires_grad=True)
    losses = loss.per_chunk(s, torch.full((3,), -3.0), context(3, torch.float32))
    (gradient,) = torch.autograd.grad(losses.sum(), s)
    assert gradient.abs().min() > 1e-3


@pytest.mark.parametrize("size", [0.0, 25.0, -60.0])
@pytest.mark.parametrize("loss", [Calm(), BernoulliKL(), BernoulliKL(temperature=1.0)], ids=label)
def test_forward_gradients_are_bounded_in_the_logits(loss: ChunkLoss, size: float) -> None:
    # In p the gradient is unbounded at both ends; through the softmax it stays about 1 at most, even when the logits are
    # large and a likelihood near 1 is the rounded difference of two large numbers.
    gaps = torch.linspace(-200, 200, 4001)
    z = (torch.stack([gaps, torch.zeros(4001)], 1) + size).requires_grad_()
    for teacher in (-50.0, -1.0, -1e-6):
        lp = z[:, 0] - z.logsumexp(1)
        losses = loss.per_chunk(lp, torch.full((4001,), teacher), context(4001, torch.float32))
        (gradient,) = torch.autograd.grad(losses.sum(), z)
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 3


@pytest.mark.parametrize("loss", LOSSES, ids=label)
def test_log_likelihoods_born_in_bfloat16_are_compared_in_float32(loss: ChunkLoss) -> None:
    s, t = torch.from_numpy(STUDENT).bfloat16(), torch.from_numpy(TEACHER).bfloat16()
    low = loss.per_chunk(s, t, context(7, torch.float32))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, loss.per_chunk(s.float(), t.float(), context(7, torch.float32)))


likelihoods = st.floats(-60.0, -1e-6)


@settings(max_examples=60, deadline=None)
@given(s=likelihoods, t=likelihoods, temperature=st.floats(0.5, 6.0), direction=st.sampled_from(["forward", "reverse"]))
def test_bernoulli_kl_is_a_divergence(s: float, t: float, temperature: float, direction: str) -> None:
    loss = BernoulliKL(temperature=temperature, direction=direction)  # type: ignore[arg-type]
    a, b = torch.tensor([s], dtype=torch.float64), torch.tensor([t], dtype=torch.float64)
    assert loss.is_divergence
    assert float(loss.per_chunk(a, b, context(1))) >= -1e-14
    assert float(loss.per_chunk(a, a, context(1))) == 0


def test_log1mexp_is_accurate_over_the_whole_range() -> None:
    x = -np.logspace(-12, 2.5, 400)
    exact = np.array([math.log(-math.expm1(v)) if v > -0.69 else math.log1p(-math.exp(v)) for v in x])
    np.testing.assert_allclose(log1mexp(torch.from_numpy(x)).numpy(), exact, rtol=1e-13)
    x32 = x.astype(np.float32)
    reference = np.array(
        [math.log(-math.expm1(float(v))) if v > -0.69 else math.log1p(-math.exp(float(v))) for v in x32]
    )
    np.testing.assert_allclose(log1mexp(torch.from_numpy(x32)).numpy(), reference, rtol=3e-6, atol=1e-37)


def test_chunk_losses_average_over_chunks() -> None:
    assert {loss.denominator for loss in LOSSES} == {"chunks"}


@pytest.mark.parametrize("loss", LOSSES, ids=label)
def test_the_teacher_receives_no_gradient(loss: ChunkLoss) -> None:
    s, t = torch.from_numpy(STUDENT).requires_grad_(), torch.from_numpy(TEACHER).requires_grad_()
    loss.per_chunk(s, t, context(7)).sum().backward()
    assert s.grad is not None
    assert t.grad is None
