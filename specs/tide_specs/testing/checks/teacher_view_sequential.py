"""Checks of teacher views whose teacher answers in sub-steps; others skip them.

Shapes: B rows, L tokens of the teacher's side.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import torch
from torch import Tensor

from tide_specs.batch import Side
from tide_specs.schedule import NoiseSchedule
from tide_specs.teacher_view import SequentialTeacherView, TeacherView
from tide_specs.testing.batches import draws_for
from tide_specs.testing.checks.teacher_view import problem
from tide_specs.testing.outcome import CheckSkipped, expect


class _Linear(NoiseSchedule):
    """alpha(t) = 1 - t."""

    name: str = "linear"

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def alpha_prime(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)


TIMES = (1e-3, 0.2, 0.5, 1.0)


def sequential(view: TeacherView) -> SequentialTeacherView:
    """Return the view as a sequential one, or skip the check."""
    if not isinstance(view, SequentialTeacherView):
        raise CheckSkipped("its teacher makes all its passes at once")
    return view


def revealed(
    view: SequentialTeacherView, time: float, seed: int = 0, first: int = 0, count: int | None = None
) -> tuple[Side, Tensor, list[Tensor]]:
    """Ask for what every sub-step but the last reveals; returns the side, its mask, and one mask per sub-step."""
    batch, side, masked = problem(first, count)
    t = torch.full(masked.shape, time, dtype=torch.float64)
    hidden, found = masked.clone(), list[Tensor]()
    for step in range(view.sub_steps - 1):
        found.append(view.reveal(step, side, hidden.clone(), t, _Linear(), draws_for(batch, seed)))
        hidden &= ~found[-1]
    return side, masked, found


def check_reveals_what_is_masked(view: TeacherView) -> None:
    """A sub-step reveals a boolean subset [B, L] of the positions that are masked still."""
    one = sequential(view)
    for time in TIMES:
        _, masked, found = revealed(one, time)
        hidden = masked
        for step, each in enumerate(found):
            expect(
                each.shape == masked.shape and each.dtype == torch.bool,
                f"reveal({step}) returns {list(each.shape)} in {each.dtype}; return a boolean tensor like masked.",
            )
            expect(
                not (each & ~hidden).any(),
                f"reveal({step}) names positions that are not masked; return a subset of masked.",
            )
            hidden = hidden & ~each


def check_reveals_chunks_whole(view: TeacherView) -> None:
    """A chunk is revealed whole or not at all: the part that stands there would give the rest away."""
    one = sequential(view)
    for time in TIMES:
        for seed in range(4):
            side, masked, found = revealed(one, time, seed)
            inside = (side.chunk >= 0) & masked
            count = int(side.chunk.max()) + 1
            for each in found:
                total, part = (
                    torch.zeros(count).index_add(0, side.chunk[inside], values[inside].float())
                    for values in (torch.ones_like(side.ids), each)
                )
                expect(
                    ((part == 0) | (part == total)).all(),
                    "a chunk is revealed in part; decide once per chunk, at its first token.",
                )


def check_reveals_by_sample(view: TeacherView) -> None:
    """What is revealed comes from ``draws`` alone and does not depend on the rest of the batch."""
    one = sequential(view)
    for time in TIMES:
        _, _, together = revealed(one, time)
        torch.rand(3)
        again = revealed(one, time)[2]
        expect(
            all(torch.equal(a, b) for a, b in zip(together, again, strict=True)),
            "the same draws reveal different positions; take every random number from draws.uniform().",
        )
        for row in (1, 3):
            side, _, alone = revealed(one, time, first=row, count=1)
            length = side.ids.shape[1]
            expect(
                all(torch.equal(a[0], b[row, :length]) for a, b in zip(alone, together, strict=True)),
                "what is revealed of a sample changes with the rest of its batch; draw one number per position of the row.",
            )
