"""Checks of weightings. Shapes: c chunks of one teacher, T teachers."""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tide_specs.testing.contexts import chosen, weighting_context
from tide_specs.testing.outcome import expect
from tide_specs.weighting import TeacherWeighting, WeightingContext

PROGRESS = (0.0, 0.25, 0.5, 1.0)
CHUNKS = 60
TEACHERS = 3


def stages(weighting: TeacherWeighting, *, scale: float = 1.0, teachers: int = TEACHERS) -> Iterator[WeightingContext]:
    """Yield what the core would ask for: every teacher at several stages of training, likelihoods times ``scale``."""
    for progress in PROGRESS:
        for teacher in range(teachers):
            yield context(weighting, teacher=teacher, progress=progress, scale=scale, teachers=teachers)


def context(
    weighting: TeacherWeighting,
    count: int = CHUNKS,
    *,
    teacher: int = 0,
    progress: float = 0.3,
    scale: float = 1.0,
    teachers: int = TEACHERS,
) -> WeightingContext:
    """Return a context of ``count`` chunks whose likelihoods are zero where the weighting does not ask for them."""
    made = weighting_context(count, teachers, teacher=teacher, progress=progress)
    likelihoods = made.likelihoods * scale if weighting.reads_likelihoods else torch.zeros_like(made.likelihoods)
    return weighting_context(count, teachers, teacher=teacher, progress=progress, likelihoods=likelihoods)


def exercise(weighting: TeacherWeighting) -> None:
    """Ask for the factors of every teacher at several stages of training."""
    for at in stages(weighting):
        weighting.factor(at)


def check_shape(weighting: TeacherWeighting) -> None:
    """One factor per chunk, in the dtype of t; none for no chunks."""
    for count in (CHUNKS, 1, 0):
        at = context(weighting, count)
        out = weighting.factor(at)
        found = f"{list(out.shape)} in {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
        expect(
            isinstance(out, Tensor) and out.shape == at.t.shape and out.dtype == at.t.dtype,
            f"for {count} chunks factor() returns {found}; return a tensor like at.t (for a constant: at.t * 0 + c).",
        )


def check_range(weighting: TeacherWeighting) -> None:
    """Every factor is finite and not negative, also where a teacher is silent or finds the text next to impossible."""
    for scale in (1.0, 1e4):
        for at in (*stages(weighting, scale=scale), *stages(weighting, scale=scale, teachers=1)):
            factor = weighting.factor(at)
            expect(
                (factor.isfinite() & (factor >= 0)).all(),
                f"at progress {at.progress} the factors of teacher {at.teacher} of {at.likelihoods.shape[1]} reach from "
                f"{factor.min().item():.3g} to {factor.max().item():.3g}; they must be finite and >= 0 (likelihoods are "
                "-inf where a teacher is silent: use softmax or logsumexp, no exp alone).",
            )


def check_no_gradient(weighting: TeacherWeighting) -> None:
    """The factors carry no gradient: they say how much a loss counts, and are nothing to learn."""
    for at in stages(weighting):
        expect(
            not weighting.factor(at).requires_grad,
            "factor() returns a tensor that requires a gradient, so the loss could fall by turning the teacher off; detach it.",
        )


def check_elementwise(weighting: TeacherWeighting) -> None:
    """A chunk's factor does not depend on the other chunks of the batch."""
    orders = (torch.arange(CHUNKS).flip(0), torch.tensor([7]), torch.arange(0, CHUNKS, 9))
    for at in stages(weighting):
        expected = weighting.factor(at)
        for index in orders:
            expect(
                torch.allclose(weighting.factor(chosen(at, index)), expected[index], atol=1e-6),
                "the factor of a chunk changes with the other chunks it is computed with; normalise over teachers (dim 1), not "
                "over the batch.",
            )


def check_repeatable(weighting: TeacherWeighting) -> None:
    """The factors depend on the context alone, and the context is left as it was."""
    asked = list(stages(weighting))
    first = [weighting.factor(at) for at in asked]
    again = [weighting.factor(at) for at in reversed(list(stages(weighting)))][::-1]
    expect(
        all(torch.equal(a, b) for a, b in zip(first, again, strict=True)),
        "the same context gives different factors; a resumed run would differ. Use no state and no randomness.",
    )
    for at, fresh in zip(asked, stages(weighting), strict=True):
        expect(
            torch.equal(at.t, fresh.t) and torch.equal(at.likelihoods, fresh.likelihoods),
            "factor() changes its context in place; the losses and the other teachers see that. Use a new tensor.",
        )


def check_declares_likelihoods(weighting: TeacherWeighting) -> None:
    """Likelihoods matter only to a weighting whose ``reads_likelihoods`` says so; for others the core has none."""
    if weighting.reads_likelihoods:
        return
    for at in stages(weighting):
        filled = weighting_context(CHUNKS, TEACHERS, teacher=at.teacher, progress=at.progress)
        expect(
            torch.equal(weighting.factor(at), weighting.factor(filled)),
            "the factors change with at.likelihoods, but reads_likelihoods is False, so that a run would show it zeros alone; "
            "write reads_likelihoods: ClassVar[bool] = True.",
        )
