"""Losses on vocabulary distributions against float64 oracles written from their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tide_plugins.losses import CrossEntropy, ForwardKL, JensenShannon, ReverseKL, SkewKL, Tidal
from tide_specs import TokenContext, TokenLoss

DIVERGENCES: list[TokenLoss] = [
    ForwardKL(),
    ReverseKL(),
    JensenShannon(),
    SkewKL(),
    SkewKL(direction="reverse", skew=0.3),
    ForwardKL(temperature=0.7),
    Tidal(mid_range_weight=False),
]


def context(n: int, columns: int, dtype: torch.dtype = torch.float64, **changes: Any) -> TokenContext:
    generator = torch.Generator().manual_seed(5)
    values: dict[str, Any] = {
        "targets": torch.randint(columns, (n,), generator=generator),
        "t": torch.linspace(0.05, 1.0, n, dtype=dtype),
        "schedule_weight": torch.linspace(0.5, 3.0, n, dtype=dtype),
        "interpolation": torch.linspace(0.1, 0.9, n, dtype=dtype),
        "maskable_in_sequence": torch.full((n,), 7.0, dtype=dtype),
        "progress": 0.4,
    }
    return TokenContext(**(values | changes))


def logits(n: int, columns: int, seed: int, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * spread


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def kl(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array(
        [sum(x * np.log(x / y) for x, y in zip(p, q, strict=True) if x > 0) for p, q in zip(a, b, strict=True)]
    )


def oracle(loss: TokenLoss, s: np.ndarray, u: np.ndarray, at: TokenContext) -> np.ndarray:
    temperature = loss.temperature  # type: ignore[attr-defined]
    q, p = softmax(s / temperature), softmax(u / temperature)
    if isinstance(loss, ForwardKL):
        value = kl(p, q)
    elif isinstance(loss, ReverseKL):
        value = kl(q, p)
    elif isinstance(loss, JensenShannon):
        value = 0.5 * kl(p, (p + q) / 2) + 0.5 * kl(q, (p + q) / 2)
    elif isinstance(loss, SkewKL):
        a, b = (p, q) if loss.direction == "forward" else (q, p)
        value = kl(a, loss.skew * a + (1 - loss.skew) * b)
    else:
        assert isinstance(loss, Tidal)
        lam = at.interpolation.numpy()[:, None]
        value = kl(softmax(((1 - lam) * s + lam * u) / temperature), q)
        if loss.mid_range_weight:
            value = value * np.exp(-((at.t.numpy() - 0.5) ** 2) / (2 * 0.15**2))
    return value * temperature**2


@pytest.mark.parametrize("loss", [*DIVERGENCES, Tidal()], ids=lambda loss: f"{loss.name}-{loss.temperature}")
def test_value_equals_the_definition(loss: TokenLoss) -> None:
    s, u, at = logits(9, 13, 0), logits(9, 13, 1), context(9, 13)
    expected = oracle(loss, s.numpy(), u.numpy(), at)
    np.testing.assert_allclose(loss.per_token(s, u, at).numpy(), expected, rtol=1e-10)
    single = context(9, 13, torch.float32)
    np.testing.assert_allclose(loss.per_token(s.float(), u.float(), single).numpy(), expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("loss", DIVERGENCES[:6], ids=lambda loss: f"{loss.name}-{loss.temperature}")
def test_gradient_equals_finite_differences(loss: TokenLoss) -> None:
    s, u, at = logits(4, 6, 2).requires_grad_(), logits(4, 6, 3), context(4, 6)
    assert torch.autograd.gradcheck(lambda x: loss.per_token(x, u, at), (s,))


@pytest.mark.parametrize("mid_range", [True, False])
def test_tidal_holds_its_target_constant(mid_range: bool) -> None:
    # With r fixed, d KL(r || softmax(s / T)) T^2 / ds = T (softmax(s / T) - r): the target contributes nothing.
    loss, temperature = Tidal(mid_range_weight=mid_range), 2.0
    s, u, at = logits(5, 7, 4).requires_grad_(), logits(5, 7, 5), context(5, 7)
    loss.per_token(s, u, at).sum().backward()
    lam = at.interpolation.numpy()[:, None]
    x = s.detach().numpy()
    expected = temperature * (softmax(x / temperature) - softmax(((1 - lam) * x + lam * u.numpy()) / temperature))
    if mid_range:
        expected = expected * np.exp(-((at.t.numpy() - 0.5) ** 2) / 0.045)[:, None]
    assert s.grad is not None
    np.testing.assert_allclose(s.grad.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_tidal_is_forward_kl_when_lambda_is_one_and_nothing_when_zero() -> None:
    s, u = logits(5, 7, 6), logits(5, 7, 7)
    plain = Tidal(mid_range_weight=False)
    one, zero = (context(5, 7, interpolation=torch.full((5,), v, dtype=torch.float64)) for v in (1.0, 0.0))
    torch.testing.assert_close(plain.per_token(s, u, one), ForwardKL().per_token(s, u, one))
    assert plain.per_token(s, u, zero).abs().max() < 1e-12


def test_mid_range_weights_average_376_and_can_be_normalised() -> None:
    t = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    assert float(Tidal().time_weight(t).mean()) == pytest.approx(0.376, abs=5e-4)
    assert float(Tidal(normalise_mid_range=True).time_weight(t).mean()) == pytest.approx(1.0, abs=1e-8)


def test_cross_entropy_is_the_weighted_negative_log_likelihood() -> None:
    s, at = logits(9, 13, 8), context(9, 13)
    nll = -np.log(softmax(s.numpy())[np.arange(9), at.targets.numpy()])
    weighted = nll * at.schedule_weight.numpy()
    np.testing.assert_allclose(CrossEntropy().per_token(s, at).numpy(), weighted, rtol=1e-12)
    np.testing.assert_allclose(CrossEntropy(weighting="none").per_token(s, at).numpy(), nll, rtol=1e-12)
    by_sequence = CrossEntropy(normalisation="sequence")
    np.testing.assert_allclose(by_sequence.per_token(s, at).numpy(), weighted / 7, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x: CrossEntropy().per_token(x, at), (s.requires_grad_(),))


def test_cross_entropy_names_its_denominator() -> None:
    assert CrossEntropy().denominator == "maskable_tokens"
    assert CrossEntropy(normalisation="sequence").denominator == "sequences"
    assert CrossEntropy(normalisation="batch").denominator == "sequences"
    assert ForwardKL().denominator == "masked_tokens"


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, spread=st.floats(0.01, 30.0))
@pytest.mark.parametrize("loss", DIVERGENCES, ids=lambda loss: f"{loss.name}-{loss.temperature}")
def test_divergences_are_never_negative_and_zero_at_equality(loss: TokenLoss, seed: int, spread: float) -> None:
    s, u = logits(6, 11, seed, spread), logits(6, 11, seed + 1, spread)
    at = context(6, 11)
    assert loss.is_divergence
    assert float(loss.per_token(s, u, at).min()) >= -1e-12
    assert float(loss.per_token(s, s + 3.0, at).abs().max()) < 1e-10


@settings(max_examples=30, deadline=None)
@given(seed=seeds, spread=st.floats(0.01, 100.0))
def test_jensen_shannon_is_symmetric_and_bounded(seed: int, spread: float) -> None:
    s, u, at = logits(6, 11, seed, spread), logits(6, 11, seed + 1, spread), context(6, 11)
    loss = JensenShannon(temperature=1.0)
    there, back = loss.per_token(s, u, at), loss.per_token(u, s, at)
    torch.testing.assert_close(there, back, rtol=1e-10, atol=1e-12)
    assert float(there.max()) <= np.log(2) + 1e-12


@settings(max_examples=30, deadline=None)
@given(seed=seeds, skew=st.floats(0.01, 0.99))
def test_skew_kl_is_bounded_by_its_skew(seed: int, skew: float) -> None:
    s, u, at = logits(6, 11, seed, 50.0), logits(6, 11, seed + 1, 50.0), context(6, 11)
    assert float(SkewKL(temperature=1.0, skew=skew).per_token(s, u, at).max()) <= np.log(1 / skew) + 1e-12


@pytest.mark.parametrize("loss", [*DIVERGENCES, Tidal()], ids=lambda loss: f"{loss.name}-{loss.temperature}")
def test_extreme_logits_stay_finite(loss: TokenLoss) -> None:
    s = (torch.randn(6, 9, generator=torch.Generator().manual_seed(0)).sign() * 1e4).requires_grad_()
    u, at = -s.detach(), context(6, 9, torch.float32)
    value = loss.per_token(s, u, at)
    value.sum().backward()
    assert value.isfinite().all()
    assert s.grad is not None
    assert s.grad.isfinite().all()


def test_cross_entropy_at_extreme_logits_keeps_its_gradient() -> None:
    s = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    at = context(1, 3, torch.float32, targets=torch.tensor([1]), schedule_weight=torch.ones(1))
    value = CrossEntropy().per_token(s, at)
    value.sum().backward()
    assert value.item() == 2e4
    assert s.grad is not None
    assert s.grad.tolist() == [[1.0, -1.0, 0.0]]


@pytest.mark.parametrize("loss", [*DIVERGENCES, Tidal()], ids=lambda loss: f"{loss.name}-{loss.temperature}")
def test_the_teacher_receives_no_gradient_from_any_divergence(loss: TokenLoss) -> None:
    s, u = logits(4, 5, 9).requires_grad_(), logits(4, 5, 10).requires_grad_()
    loss.per_token(s, u, context(4, 5)).sum().backward()
    assert s.grad is not None
    assert u.grad is None
