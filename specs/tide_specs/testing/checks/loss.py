"""Checks of losses, on textbook tensors. Shapes: n positions or chunks, V vocabulary columns."""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tide_specs.loss import (
    ChunkLoss,
    DistributionLoss,
    FeatureLoss,
    Loss,
    SelfLoss,
    TokenLoss,
)
from tide_specs.testing.closeness import expect_close
from tide_specs.testing.loss_inputs import (
    COLUMNS,
    COUNT,
    Inputs,
    feature_inputs,
    inputs,
)
from tide_specs.testing.outcome import CheckSkipped, expect

BASES = {
    "student": SelfLoss,
    "tokens": TokenLoss,
    "chunks": ChunkLoss,
    "projected": DistributionLoss,
    "ranked": DistributionLoss,
    "states": FeatureLoss,
}
SAME = {"rtol": 1e-4, "atol": 1e-5}
"""Two evaluations that may differ only by the order of float32 additions."""
ZERO = 1e-4
"""What counts as zero for a divergence of equal distributions, in nats."""
FLOAT32 = {"rtol": 1e-3, "atol": 1e-4}
"""Float32 against float64."""
BF16 = {"rtol": 0.1, "atol": 0.1}
"""How far rounding every input to bfloat16 (8 bits) may move a loss of a few nats."""
DENOMINATORS = ("maskable_tokens", "masked_tokens", "sequences", "chunks")


def exercise(loss: Loss) -> None:
    """Evaluate the loss twice, on inputs of different sizes."""
    for count in (COUNT, 3):
        inputs(loss, count).of(loss)


def check_port(loss: Loss) -> None:
    """The loss subclasses one of the five base classes, and its declarations agree with it."""
    name = type(loss).__name__
    expect(
        isinstance(loss, tuple(BASES.values())),
        f"{name} subclasses Loss directly; subclass {', '.join(dict.fromkeys(base.__name__ for base in BASES.values()))}.",
    )
    expect(
        isinstance(loss, BASES.get(loss.compares, type(None))),
        f"{name}.compares is {loss.compares!r}, which its base class does not say; leave it to the base class.",
    )
    denominator: Any = loss.denominator
    expect(
        denominator in DENOMINATORS,
        f"{name}.denominator is {denominator!r}; it must be one of {', '.join(DENOMINATORS)}.",
    )
    expect(
        loss.direction in (None, "forward", "reverse", "symmetric"),
        f"{name}.direction is {loss.direction!r}; it must be 'forward', 'reverse', 'symmetric' or None.",
    )


def check_shape(loss: Loss) -> None:
    """One finite number per position or chunk, for any count, none included."""
    for count in (COUNT, 1, 0):
        out: Any = inputs(loss, count).of(loss)
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        expect(
            isinstance(out, Tensor) and out.shape == (count,),
            f"for {count} positions the loss returns {shape}; return one number per position, shape [{count}], and "
            "leave summing and averaging to the core.",
        )
        expect(out.isfinite().all(), "the loss is not finite on ordinary inputs; compute in log space (log_softmax).")


def check_items_are_independent(loss: Loss) -> None:
    """A position's loss depends on that position alone: any order, any slice size, no randomness."""
    whole = inputs(loss)
    expected = whole.of(loss)
    expect(
        torch.equal(whole.of(loss), expected),
        "the same inputs give two different losses; a loss must be a function of its inputs (no randomness, no state).",
    )
    groups = whole.groups(loss)
    for part in _parts() if groups is None else [*_whole_groups(groups)]:
        expect_close(
            whole.pick(part).of(loss),
            expected[part],
            "the loss of a position changes with the other positions of its slice, so results would depend on the slice "
            "size and on unmasked positions; compute each row alone, without mean, max or softmax over positions"
            + ("" if groups is None else " of other sequences, lines or words"),
            **SAME,
        )


def _parts() -> list[Tensor]:
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(3))
    return [order, torch.arange(5), *torch.arange(COUNT).split(1)]


def _whole_groups(groups: Tensor) -> list[Tensor]:
    """Each group alone, and all but the last."""
    numbers = groups.unique()
    return [*((groups == number).nonzero()[:, 0] for number in numbers), (groups != numbers[-1]).nonzero()[:, 0]]


def check_gradients_are_independent(loss: Loss) -> None:
    """The gradient of one position's loss touches that position alone, and reaches the student."""
    given = inputs(loss)
    student = given.student.clone().requires_grad_()
    out = replace(given, student=student).of(loss)
    expect(
        out.requires_grad,
        "no gradient reaches the student; the loss detaches it, or computes without torch operations.",
    )
    (gradient,) = torch.autograd.grad(out[0], student, retain_graph=True)
    groups = given.groups(loss)
    others = gradient[1:] if groups is None else gradient[groups != groups[0]]
    expect(others.abs().max() == 0, "the loss of position 0 has a gradient at other positions; keep rows apart.")
    (total,) = torch.autograd.grad(out.sum(), student)
    expect(total.isfinite().all(), "the gradient is not finite on ordinary inputs; compute in log space.")
    expect(total.abs().sum() > 0, "the gradient of the student is zero everywhere; nothing would be learned.")


def check_no_gradient_to_teacher(loss: Loss) -> None:
    """Whatever the core passes in, no gradient flows back into the teacher."""
    if isinstance(loss, SelfLoss):
        raise CheckSkipped("the loss has no teacher")
    given = inputs(loss)
    teacher = given.teacher.clone().requires_grad_()
    out = replace(given, student=given.student.clone().requires_grad_(), teacher=teacher).of(loss)
    if not out.requires_grad:
        return
    (gradient,) = torch.autograd.grad(out.sum(), teacher, allow_unused=True)
    expect(
        gradient is None or gradient.abs().sum() == 0,
        "a gradient flows into the teacher, which must stay as it is; use teacher.detach().",
    )


def check_interpolated_target_is_detached(loss: Loss) -> None:
    """An interpolated target is held constant: the gradient equals the one towards the same target given as a teacher."""
    if not loss.interpolated or isinstance(loss, SelfLoss | FeatureLoss):
        raise CheckSkipped("the loss declares no interpolated target")
    share = torch.full((COUNT,), 0.4)
    given = inputs(loss, interpolation=share)
    value, gradient = _value_and_gradient(loss, given)
    for target in _mixtures(loss, given, share):
        alone = inputs(loss, interpolation=torch.ones(COUNT))
        fixed = Inputs(given.student, target, alone.at)
        expected, expected_gradient = _value_and_gradient(loss, fixed)
        if not torch.allclose(value, expected, rtol=1e-3, atol=1e-5):
            continue
        expect(
            torch.allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-5),
            "the gradient flows through the student's share of the interpolated target, which must be held constant "
            "(TIDE eq. 3); detach the student where it enters the target.",
        )
        return
    raise CheckSkipped(
        "the target is mixed neither in logits nor in probabilities, so there is nothing to compare with"
    )


def _value_and_gradient(loss: Loss, given: Inputs) -> tuple[Tensor, Tensor]:
    student = given.student.clone().requires_grad_()
    out = replace(given, student=student).of(loss)
    (gradient,) = torch.autograd.grad(out.sum(), student)
    return out.detach(), gradient


def _mixtures(loss: Loss, given: Inputs, share: Tensor) -> list[Tensor]:
    """The target mixed in logits and in (tempered) probabilities."""
    if not isinstance(loss, ChunkLoss):
        part = share[:, None]
        mixed = [(1 - part) * given.student + part * given.teacher]
        return [*mixed, ((1 - part) * given.student.softmax(1) + part * given.teacher.softmax(1)).log()]
    temperature = float(getattr(loss, "temperature", 1.0))
    s, t = (given.student / temperature).exp(), (given.teacher / temperature).exp()
    return [((1 - share) * s + share * t).log() * temperature, (1 - share) * given.student + share * given.teacher]


def check_extreme_inputs(loss: Loss) -> None:
    """Finite values and gradients for certain, impossible and enormous inputs."""
    given = _extreme(loss)
    student = given.student.clone().requires_grad_()
    out = replace(given, student=student).of(loss)
    bad = given.student[~out.isfinite()]
    expect(
        out.isfinite().all(),
        f"the loss is not finite for extreme inputs, e.g. student {bad[:1].tolist()}; stay in log space: log_softmax "
        "instead of softmax().log(), log1mexp instead of log(1 - p).",
    )
    (gradient,) = torch.autograd.grad(out.sum(), student)
    expect(
        gradient.isfinite().all(),
        "the gradient is not finite for extreme inputs (autograd multiplies the infinite derivative of a branch that is "
        "not taken by zero); give each torch.where a harmless argument where it is not chosen.",
    )


def _extreme(loss: Loss) -> Inputs:
    if isinstance(loss, ChunkLoss):
        values = torch.tensor([0.0, -1e-8, -1e-3, -1.0, -60.0, -1e4])
        student, teacher = (side.flatten() for side in torch.meshgrid(values, values, indexing="ij"))
        return Inputs(student, teacher, inputs(loss, len(student)).at)
    if isinstance(loss, FeatureLoss):
        given = feature_inputs(loss)
        scale = torch.tensor([0.0, 1e-8, 1e-3, 1.0, 80.0, 1e4]).repeat(2)[:, None]
        return replace(given, student=given.student * scale, teacher=given.teacher * scale.roll(5, 0))
    one_hot = torch.eye(COLUMNS)[:6]
    sides = [one_hot * 1e4, one_hot.flip(1) * 1e4, -one_hot * 1e4, one_hot * 1e4 - 5e3, one_hot * 0, one_hot * 80]
    student = torch.cat([side for side in sides for _ in sides])
    teacher = torch.cat(sides * len(sides))
    return Inputs(student, teacher, inputs(loss, len(student)).at)


def check_divergence(loss: Loss) -> None:
    """A loss that claims to be a divergence is zero for equal distributions, and positive for different ones."""
    if not loss.is_divergence:
        raise CheckSkipped("the loss does not claim to be a divergence")
    if isinstance(loss, FeatureLoss):
        raise CheckSkipped("states of two hidden sizes are never equal")
    given = _certain(loss, inputs(loss))
    student = given.student.clone().requires_grad_()
    equal = student.detach().clone()
    if not isinstance(loss, ChunkLoss):
        equal = equal + torch.arange(COUNT)[:, None] * 0.5  # the same distribution: logits shifted by a constant
    zero = Inputs(student, equal, given.at).of(loss)
    expect(
        zero.abs().max() < ZERO,
        f"is_divergence is set, but equal distributions give {zero.abs().max().item():.3g} instead of 0 (logits that differ by "
        "a constant are equal distributions); normalise both sides with log_softmax, or do not set is_divergence.",
    )
    (gradient,) = torch.autograd.grad(zero.sum(), student)
    expect(gradient.abs().max() < ZERO * 10, "equal distributions give a gradient; a divergence has its minimum there.")
    different = given.of(loss)
    expect(
        (different > 0).all(),
        f"is_divergence is set, but different distributions give {different.min().item():.3g}, which is not positive; "
        "check the sign and the normalisation, or do not set is_divergence.",
    )


def check_direction(loss: Loss) -> None:
    """``forward`` punishes a missed mode of the teacher most, ``reverse`` an invented one, ``symmetric`` both alike."""
    if not (loss.is_divergence and loss.direction) or isinstance(loss, FeatureLoss):
        raise CheckSkipped("the loss claims no direction, or is no divergence")
    if isinstance(loss, ChunkLoss):
        broad, narrow = torch.tensor([-1.4]), torch.tensor([-1e-3])
    else:
        broad = torch.tensor([[0.0, 0.0] + [-20.0] * (COLUMNS - 2)])
        narrow = torch.tensor([[0.0] + [-20.0] * (COLUMNS - 1)])
    at = _certain(loss, inputs(loss, 1)).at
    missed, invented = (Inputs(s, t, at).of(loss).item() for s, t in ((narrow, broad), (broad, narrow)))
    alike = abs(missed - invented) <= 1e-3 * max(missed, invented)
    truth = "symmetric" if alike else "forward" if missed > invented else "reverse"
    expect(
        loss.direction == truth,
        f"direction is '{loss.direction}', but the loss behaves as '{truth}' (a missed mode of the teacher costs "
        f"{missed:.3g}, an invented one {invented:.3g}); correct the declaration or swap the arguments.",
    )


def _certain(loss: Loss, given: Inputs) -> Inputs:
    """Inputs whose target is the teacher alone, in the middle of the time range."""
    count = len(given.student)
    at: Any = replace(given.at, interpolation=torch.ones(count), t=torch.full((count,), 0.5))
    return replace(given, at=at)


def check_float32_is_enough(loss: Loss) -> None:
    """Float32 inputs give the value that float64 inputs give."""
    given = inputs(loss)
    value, gradient = _value_and_gradient(loss, given)
    expect(
        not (_is_rounded(value) or (_is_rounded(gradient) and len(gradient.abs().unique()) > 3)),
        "the loss computes in bfloat16 or float16 (its results have no more digits than those can hold), where a divergence "
        "can be negative; keep the dtype of the logits, which is float32.",
    )
    exact = _in_float64(given).of(loss).double()
    expect_close(
        given.of(loss),
        exact,
        "the loss in float32 differs from float64, so it computes in a lower precision or cancels digits; keep the dtype of "
        "the logits, and use log_softmax, expm1 and log1p",
        **FLOAT32,
    )


def _in_float64(given: Inputs) -> Inputs:
    module = None if given.module is None else copy.deepcopy(given.module).double()
    return replace(given.map(Tensor.double), module=module)


def _is_rounded(tensor: Tensor) -> bool:
    return any(torch.equal(tensor, tensor.to(low).to(tensor.dtype)) for low in (torch.bfloat16, torch.float16))


def check_bf16_is_close(loss: Loss) -> None:
    """Inputs rounded to bfloat16, as a bf16 model gives them, lead to nearly the same value."""
    given = inputs(loss)
    rounded = given.map(lambda side: side.bfloat16().float()).of(loss)
    expect_close(
        rounded,
        given.of(loss),
        "rounding the inputs to bfloat16 changes the loss out of proportion; it amplifies small differences (a large factor, "
        "a threshold, a difference of nearly equal numbers)",
        **BF16,
    )


def check_weight_is_left_to_the_core(loss: Loss) -> None:
    """The option ``weight`` is multiplied in by the core, once."""
    heavier = loss.model_copy(update={"weight": loss.weight * 3 + 1})
    given = inputs(loss)
    expect(
        torch.equal(given.of(heavier), given.of(loss)),
        "the loss multiplies by self.weight itself, and the core would do it again; return the bare loss.",
    )


def check_inputs_stay_unchanged(loss: Loss) -> None:
    """The logits are shared by all losses of a run, so none may change them in place."""
    given = inputs(loss)
    student, teacher = given.student.clone(), given.teacher.clone()
    given.of(loss)
    expect(
        torch.equal(given.student, student) and torch.equal(given.teacher, teacher),
        "the loss changes its inputs in place, and the run's other losses would see that; use a + b instead of a += b.",
    )
