"""Losses on hidden states against float64 oracles that loop over sequences and chunks."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tide_plugins.losses import DualSpace, HiddenState, cross_model_attention
from tide_specs import FeatureContext, FeatureLoss, Head
from tide_specs.testing.chunk_contexts import feature_context

HS, HT, VS, VT, C = 5, 7, 9, 11, 8
SEQUENCE = torch.tensor([2, 2, 2, 5, 5, 5, 5, 8])


class ExactHead(Head):
    """A head that leaves float64 logits in float64, so that gradients can be held to finite differences."""

    def finish(self, raw: Tensor) -> Tensor:
        return raw * self.scale


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def heads(dtype: torch.dtype = torch.float64) -> tuple[Head, Head]:
    kind = ExactHead if dtype == torch.float64 else Head
    student = kind(draw(VS, HS, seed=1).to(dtype), draw(VS, seed=2).to(dtype))
    return student, kind(draw(VT, HT, seed=3).to(dtype), scale=0.7)


def context(dtype: torch.dtype = torch.float64) -> FeatureContext:
    return feature_context(C, *heads(dtype), sequence=SEQUENCE)


STUDENT, TEACHER = draw(C, HS, seed=4), draw(C, HT, seed=5)


def module_of(loss: FeatureLoss, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return loss.build(HS, HT).to(dtype)


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


# Hidden states


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_hidden_state_is_the_distance_of_normalised_states(distance: Any) -> None:
    loss = HiddenState(distance=distance)
    module = module_of(loss)
    w = arrays(module)
    found = loss.per_chunk(STUDENT, TEACHER, module, context()).detach().numpy()
    for i in range(C):
        a, b = w["weight"] @ STUDENT[i].numpy() + w["bias"], TEACHER[i].numpy()
        expected = {"cosine": 1 - a @ b / math.sqrt((a @ a) * (b @ b)), "mse": 2 * (1 - np.corrcoef(a, b)[0, 1])}
        assert found[i] == pytest.approx(expected[distance], rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_hidden_state_knows_no_scale_and_is_bounded(distance: Any) -> None:
    loss = HiddenState(distance=distance)
    module: Any = module_of(loss)
    nn.init.zeros_(module.bias)
    values = loss.per_chunk(STUDENT, TEACHER, module, context())
    scaled = loss.per_chunk(STUDENT * 300, TEACHER * 0.02, module, context())
    torch.testing.assert_close(values, scaled, rtol=1e-3, atol=1e-4)
    extremes = torch.cat([module(STUDENT), -module(STUDENT)]).detach()
    both = loss.per_chunk(torch.cat([STUDENT, STUDENT]), extremes, module, context())
    bound = 2.0 if distance == "cosine" else 4.0
    torch.testing.assert_close(both, torch.tensor([0.0] * C + [bound] * C, dtype=torch.float64), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_a_projection_learns_to_read_the_teacher_from_the_student(distance: Any) -> None:
    loss = HiddenState(distance=distance)
    torch.manual_seed(1)
    student = torch.randn(200, HS)
    teacher = student @ torch.randn(HS, HT) + torch.randn(HT)
    module = module_of(loss, torch.float32)
    optimizer = torch.optim.Adam(module.parameters(), 0.05)
    values = torch.ones(1)
    for _ in range(200):
        optimizer.zero_grad()
        values = loss.per_chunk(student, teacher, module, context())
        values.mean().backward()
        optimizer.step()
    assert values.mean() < 0.01


# Dual space

DUAL = [
    DualSpace(),
    DualSpace(spaces="student"),
    DualSpace(values="states", correct_only=False),
    DualSpace(spaces="student", temperature=1.0, correct_only=False),
]


def label(loss: DualSpace) -> str:
    return f"{loss.spaces}-{loss.values}-{loss.temperature}-{loss.correct_only}"


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


def rms(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean())


def oracle(loss: DualSpace, module: nn.Module, at: FeatureContext) -> np.ndarray:
    w, hs, ht = arrays(module), STUDENT.numpy(), TEACHER.numpy()
    ws, wt = at.student_head.weight.numpy(), at.teacher_head.weight.numpy()
    bias = at.student_head.bias
    assert bias is not None
    targets, teacher_targets = at.targets.tolist(), at.teacher_targets.tolist()
    query = [w["query.weight"] @ np.r_[rms(hs[i]), rms(ws[targets[i]])] + w["query.bias"] for i in range(C)]
    key = [np.r_[rms(ht[j]), rms(wt[teacher_targets[j]])] for j in range(C)]
    value = []
    for j in range(C):
        seen = rms(ht[j]) + (rms(wt[teacher_targets[j]]) if loss.values == "states_and_targets" else 0)
        value.append(w["to_student.weight"] @ seen + w["to_student.bias"])
    losses = np.zeros(C)
    temper = loss.temperature

    def divergence(teacher: np.ndarray, student: np.ndarray) -> float:
        p, q = softmax(teacher / temper), softmax(student / temper)
        return float((p * np.log(p / q)).sum() * temper**2)

    for i in range(C):
        peers = [j for j in range(C) if SEQUENCE[j] == SEQUENCE[i]]
        share = softmax(np.array([query[i] @ key[j] / math.sqrt(2 * HT) for j in peers]))
        found = sum(s * value[j] for s, j in zip(share, peers, strict=True))
        guess, own = ws @ found + bias.numpy(), ws @ hs[i] + bias.numpy()
        losses[i] = -math.log(softmax(guess)[targets[i]])
        if guess.argmax() == targets[i] or not loss.correct_only:
            losses[i] += divergence(guess, own)
        if loss.spaces == "both":
            back = softmax(np.array([query[j] @ key[i] / math.sqrt(2 * HT) for j in peers]))
            states = sum(
                s * (w["to_teacher.weight"] @ hs[j] + w["to_teacher.bias"]) for s, j in zip(back, peers, strict=True)
            )
            losses[i] += divergence(0.7 * wt @ ht[i], 0.7 * wt @ states)
    return losses


@pytest.mark.parametrize("loss", DUAL, ids=label)
def test_dual_space_equals_its_definition(loss: DualSpace) -> None:
    module, at = module_of(loss), context()
    at = replace(at, targets=torch.tensor([4, 2, 2, 0, 8, 1, 3, 3]))
    expected = oracle(loss, module, at)
    np.testing.assert_allclose(
        loss.per_chunk(STUDENT, TEACHER, module, at).detach().numpy(), expected, rtol=1e-6, atol=1e-7
    )
    single = replace(context(torch.float32), targets=at.targets)
    values = loss.per_chunk(STUDENT.float(), TEACHER.float(), copy.deepcopy(module).float(), single)
    np.testing.assert_allclose(values.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_oracle_meets_both_right_and_wrong_guesses() -> None:
    loss, at = DualSpace(spaces="student"), context()
    some, every = module_of(loss), loss.model_copy(update={"correct_only": False})
    # With the guesses themselves as targets the KL counts everywhere, with others nowhere.
    module: Any = some
    found, _ = module(STUDENT, TEACHER, at, with_targets=True)
    guess = at.student_head.logits(found).argmax(1)
    for shift, counts in ((0, True), (1, False)):
        moved = (guess + shift) % VS
        at2 = replace(at, targets=moved)
        refound, _ = module(STUDENT, TEACHER, at2, with_targets=True)
        right = at.student_head.logits(refound).argmax(1) == moved
        with_mask, without = (one.per_chunk(STUDENT, TEACHER, some, at2) for one in (loss, every))
        assert bool((torch.isclose(with_mask, without) == right).all())
        assert bool(right.any()) or not counts


@pytest.mark.parametrize("loss", DUAL, ids=label)
def test_gradients_of_the_student_equal_finite_differences(loss: DualSpace) -> None:
    module, at = module_of(loss), context()
    held: Any = module
    with torch.no_grad():
        found, _ = held(STUDENT, TEACHER, at, with_targets=loss.values == "states_and_targets")

    shares = attention_of_the_teacher(held, at) if loss.spaces == "both" else None

    def held_constant(student: Tensor) -> Tensor:
        # What the loss holds constant (queries, the teacher's distribution) keeps its value while the student moves.
        values = cross_model_attention.in_student_space(student, found, at, loss.temperature, loss.correct_only)
        if shares is None:
            return values
        returned = shares @ (student @ held.to_teacher.weight.T + held.to_teacher.bias)
        return values + cross_model_attention.in_teacher_space(returned, TEACHER, at, loss.temperature)

    student = STUDENT.clone().requires_grad_()
    assert torch.autograd.gradcheck(held_constant, (student,))
    (expected,) = torch.autograd.grad(held_constant(student).sum(), student)
    (gradient,) = torch.autograd.grad(loss.per_chunk(student, TEACHER, module, at).sum(), student)
    torch.testing.assert_close(gradient, expected)


def attention_of_the_teacher(module: Any, at: FeatureContext) -> Tensor:
    """How much of each student chunk reaches each teacher chunk [c, c], by sending one-hot values through."""
    probe, identity = copy.deepcopy(module), nn.Linear(HS, C, bias=False, dtype=torch.float64)
    probe.to_teacher = identity
    identity.forward = lambda input: torch.eye(C, dtype=torch.float64)
    return probe(STUDENT, TEACHER, at, with_targets=True)[1].detach()


@pytest.mark.parametrize("loss", DUAL, ids=label)
def test_gradients_of_the_projections_equal_finite_differences(loss: DualSpace) -> None:
    loss = loss.model_copy(update={"correct_only": True})
    module, at = module_of(loss), context()
    # No guess is right, so what is left depends on the projections alone: cross-entropy, and the KL of the other space.
    held: Any = module
    found, _ = held(STUDENT, TEACHER, at, with_targets=loss.values == "states_and_targets")
    at = replace(at, targets=(at.student_head.logits(found).argmin(1)))
    found, _ = held(STUDENT, TEACHER, at, with_targets=loss.values == "states_and_targets")
    assert not bool((at.student_head.logits(found).argmax(1) == at.targets).any())
    parameters = tuple(p.detach().clone().requires_grad_() for p in module.parameters())
    names = [name for name, _ in module.named_parameters()]

    def evaluate(*given: Tensor) -> Tensor:
        def called(*args: Any, **kwargs: Any) -> Any:
            return torch.func.functional_call(module, dict(zip(names, given, strict=True)), args, kwargs)

        return loss.per_chunk(STUDENT, TEACHER, called, at)

    assert torch.autograd.gradcheck(evaluate, parameters)


@pytest.mark.parametrize("loss", DUAL, ids=label)
def test_slices_change_nothing(loss: DualSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    module, at = module_of(loss), context()
    results = []
    for elements in (1 << 23, 1):
        monkeypatch.setattr(cross_model_attention, "ELEMENTS", elements)
        student = STUDENT.clone().requires_grad_()
        values = loss.per_chunk(student, TEACHER, module, at)
        results.append((values, *torch.autograd.grad(values.sum(), [student, *module.parameters()])))
    for whole, sliced in zip(*results, strict=True):
        torch.testing.assert_close(whole, sliced)


def test_no_logits_outlive_their_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_model_attention, "ELEMENTS", 2 * max(VS, VT))
    loss, at = DualSpace(), context()
    saved: list[tuple[int, ...]] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss.per_chunk(STUDENT.clone().requires_grad_(), TEACHER, module_of(loss), at)
    logits = [shape for shape in saved if shape[-1:] in ((VS,), (VT,)) and shape[0] not in (VS, VT)]
    assert saved and not logits


def test_dual_space_brings_a_student_to_its_teacher() -> None:
    # The teacher knows the token; student states that start at random come to say it too.
    torch.manual_seed(2)
    count = 40
    # Rows of one length: a state in a row's direction makes that row's token the likeliest.
    rows = (nn.functional.normalize(torch.randn(*shape)) * 6 for shape in ((VS, HS), (VT, HT)))
    student_head, teacher_head = map(Head, rows)
    targets = torch.randint(VS, (count,))
    at = feature_context(
        count, student_head, teacher_head, targets=targets, teacher_targets=targets, sequence=torch.arange(count) // 5
    )
    teacher = teacher_head.weight[targets]
    student = torch.randn(count, HS).requires_grad_()
    loss = DualSpace()
    module = module_of(loss, torch.float32)
    optimizer = torch.optim.Adam([student, *module.parameters()], 0.05)
    before = float((student_head.logits(student).argmax(1) == targets).float().mean())
    for _ in range(200):
        optimizer.zero_grad()
        loss.per_chunk(student, teacher, module, at).mean().backward()
        optimizer.step()
    after = float((student_head.logits(student).argmax(1) == targets).float().mean())
    assert before < 0.25 < 0.75 < after  # what is left waits for the attention
