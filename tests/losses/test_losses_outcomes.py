"""Losses over outcomes, over top-k tokens and over a moving target, against float64 oracles in loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tide_plugins.losses import (
    Calm,
    CrossEntropy,
    ForwardKL,
    ProjectedKL,
    ReverseCalm,
    ReverseKL,
    TidalCrossEntropy,
    TopKKL,
    UniversalLogit,
)
from tide_specs import Loss, Mix, StartContext, TokenContext

PROJECTED = [
    ProjectedKL(),
    ProjectedKL(direction="reverse"),
    ProjectedKL(temperature=2.0),
    ProjectedKL(direction="reverse", temperature=0.5),
    ProjectedKL(interpolated=True),
    ProjectedKL(interpolated=True, temperature=3.0),
]
SHARE = 0.3


def label(loss: ProjectedKL) -> str:
    return f"{loss.direction}-{loss.temperature}-{loss.interpolated}"


def starts(count: int, dtype: torch.dtype = torch.float64, share: float = SHARE) -> StartContext:
    ones, whole = torch.ones(count, dtype=dtype), torch.ones(count, dtype=torch.int64)
    return StartContext(
        t=ones / 2,
        schedule_weight=ones,
        interpolation=ones * share,
        student_tokens=whole,
        teacher_tokens=whole,
        bytes=whole,
        relation=whole,
        progress=0.5,
        targets=whole,
        teacher_targets=whole,
        teacher_log_likelihood=-ones,
    )


def tokens(n: int, columns: int, dtype: torch.dtype = torch.float64, **given: Any) -> TokenContext:
    values: dict[str, Any] = {
        "targets": torch.arange(n) % columns,
        "t": torch.linspace(0.1, 0.9, n, dtype=dtype),
        "schedule_weight": torch.linspace(0.5, 3.0, n, dtype=dtype),
        "interpolation": torch.linspace(0.0, 1.0, n, dtype=dtype),
        "maskable_in_sequence": torch.full((n,), 7.0, dtype=dtype),
        "progress": 0.4,
    }
    return TokenContext(**(values | given))


def logits(n: int, columns: int, seed: int, spread: float = 2.0) -> Tensor:
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * spread


def shares(n: int, columns: int, seed: int) -> Tensor:
    """Teacher probabilities with zeros among them."""
    z = logits(n, columns, seed)
    largest = z.amax(1, keepdim=True)  # stays, so that something is left
    return z.masked_fill((z < -1) & (z < largest), float("-inf")).softmax(1)


def softened(p: list[float], temperature: float) -> list[float]:
    powers = [x ** (1 / temperature) for x in p]
    return [x / sum(powers) for x in powers]


def divergence(a: list[float], b: list[float]) -> float:
    least = float(torch.finfo(torch.float32).tiny)
    return sum(x * math.log(x / (y if y > 0 else least)) for x, y in zip(a, b, strict=True) if x > 0)


def oracle(loss: ProjectedKL, log_p: Tensor, q: Tensor, share: float) -> list[float]:
    found: list[float] = []
    for own, other in zip(log_p.exp().tolist(), q.tolist(), strict=True):
        p, target = softened(own, loss.temperature), softened(other, loss.temperature)
        if loss.interpolated:
            target = [(1 - share) * x + share * y for x, y in zip(p, target, strict=True)]
        value = divergence(target, p) if loss.direction == "forward" else divergence(p, target)
        found.append(value * loss.temperature**2)
    return found


@pytest.mark.parametrize("loss", PROJECTED, ids=label)
def test_projected_kl_is_the_divergence_over_outcomes(loss: ProjectedKL) -> None:
    log_p, q = logits(7, 6, 0).log_softmax(1), shares(7, 6, 1)
    expected = oracle(loss, log_p, q, SHARE)
    np.testing.assert_allclose(loss.per_start(log_p, q, starts(7)).numpy(), expected, rtol=1e-10)
    single = loss.per_start(log_p.float(), q.float(), starts(7, torch.float32))
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("loss", PROJECTED[:4], ids=label)
def test_projected_kl_has_the_gradient_of_finite_differences(loss: ProjectedKL) -> None:
    z, q = logits(4, 5, 2).requires_grad_(), shares(4, 5, 3)
    assert torch.autograd.gradcheck(lambda x: loss.per_start(x.log_softmax(1), q, starts(4)), (z,))


def test_the_moving_target_is_held_constant() -> None:
    # d/dz KL(r || softmax(z)) with r held fixed is p - r = share * (p - q).
    z, q = logits(4, 5, 4).requires_grad_(), shares(4, 5, 5)
    ProjectedKL(interpolated=True).per_start(z.log_softmax(1), q, starts(4)).sum().backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad, SHARE * (z.detach().softmax(1) - q))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_over_shared_columns_projected_kl_is_the_kl_of_tokens(direction: Any, temperature: float) -> None:
    z, u = logits(5, 6, 6), logits(5, 6, 7)
    sibling = {"forward": ForwardKL, "reverse": ReverseKL}[direction](temperature=temperature)
    found = ProjectedKL(direction=direction, temperature=temperature).per_start(
        z.log_softmax(1), u.softmax(1), starts(5)
    )
    torch.testing.assert_close(found, sibling.per_token(z, u, tokens(5, 6)))


@pytest.mark.parametrize("never", [-1e4, float("-inf")])
@pytest.mark.parametrize("loss", PROJECTED, ids=label)
def test_impossible_outcomes_are_safe_in_value_and_gradient(loss: ProjectedKL, never: float) -> None:
    p = torch.tensor([[0.0, never, never], [-0.7, -0.7, never], [-1e3, 0.0, never]], requires_grad=True)
    q = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    # q > 0 with p = 0 is infinite by definition in the first row of the forward divergence.
    rows = slice(1, 3) if never < -1e5 and loss.direction == "forward" else slice(0, 3)
    out = loss.per_start(p[rows], q[rows], starts(len(p[rows]), torch.float32))
    (gradient,) = torch.autograd.grad(out.sum(), p)
    assert out.isfinite().all()
    assert gradient.isfinite().all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), direction=st.sampled_from(["forward", "reverse"]), temperature=st.floats(0.3, 5.0))
def test_projected_kl_is_never_negative_and_zero_at_equality(seed: int, direction: Any, temperature: float) -> None:
    loss = ProjectedKL(direction=direction, temperature=temperature)
    log_p, q = logits(4, 8, seed).log_softmax(1), shares(4, 8, seed + 1)
    assert float(loss.per_start(log_p, q, starts(4)).min()) >= -1e-12
    assert float(loss.per_start(log_p, log_p.exp(), starts(4)).abs().max()) < 1e-10


def test_uld_adds_up_the_differences() -> None:
    log_p, q = logits(6, 5, 8).log_softmax(1).requires_grad_(), shares(6, 5, 9)
    expected = [
        sum(abs(x - math.exp(y)) for x, y in zip(a, b, strict=True))
        for a, b in zip(q.tolist(), log_p.tolist(), strict=True)
    ]
    np.testing.assert_allclose(UniversalLogit().per_start(log_p, q, starts(6)).detach().numpy(), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x: UniversalLogit().per_start(x, q, starts(6)), (log_p,))


def top_k_oracle(loss: TopKKL, s: np.ndarray, u: np.ndarray) -> float:
    p, q = (np.exp(z - z.max()) / np.exp(z - z.max()).sum() for z in (u, s))
    best = np.argsort(-p)[: loss.k]
    other = [v for v in range(len(p)) if v not in best]
    a, b = ([*side[best], *([side[other].sum()] if other else [])] for side in (p, q))
    a, b = softened(a, loss.temperature), softened(b, loss.temperature)
    return loss.temperature**2 * (divergence(a, b) if loss.direction == "forward" else divergence(b, a))


@pytest.mark.parametrize("k", [1, 3, 7, 20])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_top_k_kl_is_the_divergence_over_k_tokens_and_the_rest(k: int, temperature: float, direction: Any) -> None:
    loss = TopKKL(k=k, temperature=temperature, direction=direction)
    s, u, at = logits(5, 7, 10), logits(5, 7, 11), tokens(5, 7)
    expected = [top_k_oracle(loss, a, b) for a, b in zip(s.numpy(), u.numpy(), strict=True)]
    np.testing.assert_allclose(loss.per_token(s, u, at).numpy(), expected, rtol=1e-10)
    assert torch.autograd.gradcheck(lambda x: loss.per_token(x, u, at), (s.clone().requires_grad_(),))
    assert loss.reads_top_k == k


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_top_k_kl_of_a_cached_teacher_is_that_of_the_teacher(temperature: float, direction: Any) -> None:
    """The cache knows the k tokens and the rest as one number, spread over the others."""
    loss = TopKKL(k=4, temperature=temperature, direction=direction)
    s, u = logits(6, 11, 12), logits(6, 11, 13)
    log_p = u.log_softmax(1)
    listed, ids = log_p.topk(4, 1)
    rest = (1 - listed.exp().sum(1)) / 7
    cached = rest.log()[:, None].repeat(1, 11).scatter(1, ids, listed)
    at = tokens(6, 11)
    torch.testing.assert_close(loss.per_token(s, u, at), loss.per_token(s, cached, at), rtol=1e-10, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 12))
def test_top_k_kl_never_exceeds_the_whole_divergence(seed: int, k: int) -> None:
    s, u, at = logits(4, 9, seed), logits(4, 9, seed + 1), tokens(4, 9)
    for direction, whole in (("forward", ForwardKL(temperature=1.0)), ("reverse", ReverseKL(temperature=1.0))):
        part = TopKKL(k=k, direction=direction).per_token(s, u, at)  # type: ignore[arg-type]
        full = whole.per_token(s, u, at)
        assert (part <= full + 1e-12).all()
        if k >= 8:
            torch.testing.assert_close(part, full)


@pytest.mark.parametrize("options", [{}, {"weighting": "none"}, {"normalisation": "sequence"}])
def test_tidal_cross_entropy_has_lambda_times_the_gradient_of_cross_entropy(options: dict[str, Any]) -> None:
    s, at = logits(6, 9, 14).requires_grad_(), tokens(6, 9)
    moving, plain = TidalCrossEntropy(**options), CrossEntropy(**options)
    value = moving.per_token(s, at)
    p = s.detach().softmax(1)
    target = (1 - at.interpolation)[:, None] * p + at.interpolation[:, None] * torch.eye(9, dtype=p.dtype)[at.targets]
    expected = -(target * p.log()).sum(1)
    if moving.weighting == "schedule":
        expected = expected * at.schedule_weight
    if moving.normalisation == "sequence":
        expected = expected / at.maskable_in_sequence
    torch.testing.assert_close(value.detach(), expected)
    (gradient,) = torch.autograd.grad(value.sum(), s)
    (whole,) = torch.autograd.grad(plain.per_token(s, at).sum(), s)
    torch.testing.assert_close(gradient, at.interpolation[:, None] * whole)
    assert moving.denominator == plain.denominator


def objections(*losses: Loss) -> list[str]:
    mix = Mix(components={"loss": losses})
    return [sentence for loss in losses for sentence in loss.conflicts(mix)]


def test_tidal_cross_entropy_may_share_a_run_with_reverse_objectives() -> None:
    assert objections(TidalCrossEntropy(), ReverseCalm(), ReverseKL(), ProjectedKL(direction="reverse")) == []


def test_projected_kl_refuses_a_moving_target_with_a_reverse_objective() -> None:
    (sentence,) = objections(ProjectedKL(interpolated=True), ReverseCalm())
    assert "'projected_kl' leans its target on the student while 'reverse_calm' is a reverse objective" in sentence
    assert "tidal_cross_entropy" in sentence
    (sentence,) = objections(ProjectedKL(interpolated=True, direction="reverse"))
    assert "while 'projected_kl' itself is a reverse objective" in sentence
    assert objections(ProjectedKL(interpolated=True), Calm()) == objections(ProjectedKL(direction="reverse")) == []


def test_uld_refuses_to_be_the_only_loss() -> None:
    (sentence,) = objections(UniversalLogit(), CrossEntropy(weight=0))
    assert sentence.endswith("add cross_entropy")
    assert objections(UniversalLogit(), CrossEntropy()) == []
