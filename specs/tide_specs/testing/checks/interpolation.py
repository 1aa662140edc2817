"""Checks of interpolations. Shapes: n times."""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import torch
from torch import Tensor

from tide_specs.interpolation import Interpolation
from tide_specs.testing.outcome import expect

PROGRESS = (0.0, 0.25, 0.5, 1.0)


def times(count: int = 101) -> Tensor:
    """Return times [n] over (0, 1], in float32."""
    return torch.linspace(1e-3, 1.0, count)


def exercise(interpolation: Interpolation) -> None:
    """Ask for the weights at several stages of training."""
    for progress in PROGRESS:
        interpolation.weight(progress, times())


def check_shape(interpolation: Interpolation) -> None:
    """One weight per time, in the dtype of t."""
    for t in (times(), times(1), times(0), times().double()):
        out = interpolation.weight(0.5, t)
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        expect(
            isinstance(out, Tensor) and out.shape == t.shape and out.dtype == t.dtype,
            f"for {len(t)} times weight() returns {shape}; return a tensor like t (for a constant: t * 0 + c).",
        )


def check_range(interpolation: Interpolation) -> None:
    """Every weight lies in [0, 1], at every stage of training."""
    for progress in PROGRESS:
        weight = interpolation.weight(progress, times())
        expect(
            (weight.isfinite() & (weight >= 0) & (weight <= 1)).all(),
            f"at progress {progress} the weights reach from {weight.min().item():.3g} to {weight.max().item():.3g}; lambda is "
            "the teacher's share of the target and must stay in [0, 1].",
        )


def check_elementwise(interpolation: Interpolation) -> None:
    """A time's weight does not depend on the other times of the batch."""
    t = times()
    for progress in PROGRESS:
        expected = interpolation.weight(progress, t)
        for index in (torch.arange(len(t)).flip(0), torch.tensor([7]), torch.arange(0, len(t), 9)):
            expect(
                torch.allclose(interpolation.weight(progress, t[index]), expected[index], atol=1e-6),
                "the weight of a time changes with the other times it is computed with; do not normalise over the batch.",
            )


def check_repeatable(interpolation: Interpolation) -> None:
    """The weights depend on progress and time alone, and t is left as it was."""
    t = times()
    first = [interpolation.weight(progress, t.clone()) for progress in PROGRESS]
    again = [interpolation.weight(progress, t) for progress in reversed(PROGRESS)][::-1]
    expect(
        all(torch.equal(a, b) for a, b in zip(first, again, strict=True)),
        "the same progress and times give different weights; a resumed run would differ. Use no state and no randomness.",
    )
    expect(
        torch.equal(t, times()), "weight() changes t in place; the run's other components see that. Use a new tensor."
    )
