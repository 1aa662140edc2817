"""Checks of the bridge between two vocabularies that an alignment builds.

Shapes: c chunks, V_S and V_T columns, K outcomes.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tide_specs.alignment import Alignment
from tide_specs.bridge import Outcomes, VocabularyBridge
from tide_specs.errors import AlignmentError
from tide_specs.loss import StartContext
from tide_specs.testing.chunk_contexts import start_context
from tide_specs.testing.closeness import expect_close
from tide_specs.testing.contexts import chosen, logits
from tide_specs.testing.outcome import CheckSkipped, expect
from tide_specs.text import TextTokenizer

from .alignment import tokenizers

COUNT = 12
PADDING = (3, 5)
"""Columns of the heads of student and teacher beyond their ids."""
CLOSE = {"rtol": 1e-4, "atol": 1e-6}
BRIDGED = frozenset({"projected", "ranked"})


@dataclass(frozen=True)
class Case:
    """A bridge, and what it is given."""

    title: str
    bridge: VocabularyBridge
    student: Tensor
    teacher: Tensor
    at: StartContext

    def outcomes(self) -> Outcomes:
        """Ask the bridge."""
        return self.bridge.outcomes(self.student, self.teacher, self.at)

    def pick(self, index: Tensor) -> Case:
        """Return the case of some of the chunks."""
        at: Any = chosen(self.at, index)
        return replace(self, student=self.student[index], teacher=self.teacher[index], at=at)


def cases(alignment: Alignment, scale: float = 2.0) -> Iterator[Case]:
    """Yield a case for each pair of tokenizers, from a model and as a cache of the most likely tokens would give it."""
    if not BRIDGED & alignment.yields:
        raise CheckSkipped("the alignment yields neither 'projected' nor 'ranked'")
    built = 0
    for title, student, teacher in tokenizers(alignment):
        bridge = _built(alignment, title, student, teacher)
        if bridge is None:
            continue
        built += 1
        sizes = student.vocabulary_size, teacher.vocabulary_size
        given = Case(title, bridge, *_sides(sizes, scale), start_context(COUNT, *sizes))
        yield given
        yield replace(given, title=f"{title}, from a cache", teacher=cut(given.teacher, 20))
    if not built:
        raise CheckSkipped("it serves none of the kit's pairs of tokenizers")


def _built(alignment: Alignment, title: str, student: TextTokenizer, teacher: TextTokenizer) -> VocabularyBridge | None:
    try:
        bridge: Any = alignment.bridge(student, teacher)
    except AlignmentError:
        return None
    expect(
        isinstance(bridge, VocabularyBridge),
        f"{title}: the alignment yields {' and '.join(sorted(BRIDGED & alignment.yields))}, but bridge() returns "
        f"{type(bridge).__name__}; return a VocabularyBridge, or raise AlignmentError.",
    )
    return bridge


def _sides(sizes: tuple[int, int], scale: float) -> tuple[Tensor, Tensor]:
    columns = [size + more for size, more in zip(sizes, PADDING, strict=True)]
    shares = logits(COUNT, columns[1], seed=1, scale=scale).softmax(1)
    return logits(COUNT, columns[0], scale=scale), torch.cat([shares, torch.zeros(COUNT, 1)], 1)


def cut(teacher: Tensor, count: int) -> Tensor:
    """Keep the ``count`` most likely tokens of each row; the last column takes the rest."""
    ids = teacher[:, :-1].topk(count, dim=1).indices
    kept = torch.zeros_like(teacher).scatter(1, ids, teacher.gather(1, ids))
    kept[:, -1] = teacher.scatter(1, ids, 0.0).sum(1)
    return kept


def check_outcomes_are_distributions(alignment: Alignment) -> None:
    """Both sides are distributions over the same outcomes: finite, not negative, adding up to one, for any count."""
    for case in cases(alignment):
        for count in (COUNT, 1, 0):
            given = case.pick(torch.arange(count))
            found = given.outcomes()
            shapes = [tuple(side.shape) for side in found]
            expect(
                shapes[0] == shapes[1] and len(shapes[0]) == 2 and shapes[0][0] == count,
                f"{case.title}: for {count} chunks the outcomes have shapes {shapes[0]} and {shapes[1]}; both must be [c, K].",
            )
            expect(
                found.student.isfinite().all() and found.teacher.isfinite().all(),
                f"{case.title}: outcomes are not finite; give an outcome that cannot be a large negative log-probability.",
            )
            expect((found.teacher >= 0).all(), f"{case.title}: a probability of the teacher's is negative.")
            for side, mass in (("student", found.student.exp().sum(1)), ("teacher", found.teacher.sum(1))):
                expect_close(
                    mass,
                    torch.ones(count),
                    f"{case.title}: the {side}'s outcomes do not add up to one; what no outcome describes (padding of the head, "
                    "tokens without a partner, the teacher's last column) goes to an outcome of its own",
                    **CLOSE,
                )


def check_outcomes_of_a_chunk_are_its_own(alignment: Alignment) -> None:
    """A chunk's outcomes depend on that chunk alone."""
    for case in cases(alignment):
        whole = case.outcomes()
        order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(3))
        for part in (order, torch.arange(5), torch.tensor([COUNT - 1])):
            found = case.pick(part).outcomes()
            for side, expected in zip(found, whole, strict=True):
                expect_close(
                    side,
                    expected[part],
                    f"{case.title}: a chunk's outcomes change with the other chunks of its slice; compute each row alone",
                    **CLOSE,
                )


def check_equal_sides_stay_equal(alignment: Alignment) -> None:
    """One vocabulary and one distribution on both sides give equal outcomes, where no chunk needs a correction."""
    for _, words, _ in tokenizers(alignment)[:1]:
        if not BRIDGED & alignment.yields:
            raise CheckSkipped("the alignment yields neither 'projected' nor 'ranked'")
        bridge = _built(alignment, "one tokenizer on both sides", words, words)
        if bridge is None:
            raise CheckSkipped("it does not serve one tokenizer on both sides")
        size, one = words.vocabulary_size, torch.ones(COUNT, dtype=torch.int64)
        student = logits(COUNT, size)
        teacher = torch.cat([student.softmax(1), torch.zeros(COUNT, 1)], 1)
        at = start_context(COUNT, size, size, student_tokens=one, teacher_tokens=one, relation=one * 0)
        found = bridge.outcomes(student, teacher, replace(at, teacher_targets=at.targets))
        expect_close(
            found.student.exp(),
            found.teacher,
            "equal distributions over one vocabulary become different outcomes, so the student would be pulled away from a "
            "teacher that it equals; treat both sides alike",
            **CLOSE,
        )


def check_bridge_passes_gradients_to_the_student_alone(alignment: Alignment) -> None:
    """Gradients reach the student's logits, row by row, are finite for extreme inputs, and never reach the teacher."""
    for scale in (2.0, 1e4):
        for case in cases(alignment, scale):
            student, teacher = case.student.clone().requires_grad_(), case.teacher.clone().requires_grad_()
            found = replace(case, student=student, teacher=teacher).outcomes()
            expect(
                found.student.requires_grad,
                f"{case.title}: no gradient reaches the student; use torch operations, and do not detach it.",
            )
            value = (found.student * found.teacher.detach()).sum() + found.student[:1].exp().square().sum()
            own, other = torch.autograd.grad(value + found.teacher.sum() * 0, (student, teacher), allow_unused=True)
            expect(own is not None and own.isfinite().all(), f"{case.title}: the student's gradient is not finite.")
            expect(scale > 2 or own.abs().sum() > 0, f"{case.title}: the student's gradient is zero everywhere.")
            expect(
                other is None and not found.teacher.requires_grad,
                f"{case.title}: a gradient flows into the teacher; use teacher.detach().",
            )


def check_bridge_reads_no_more_than_it_says(alignment: Alignment) -> None:
    """With ``reads_top_k = k`` the teacher's k most likely tokens and their rest give what the whole teacher gives."""
    count = alignment.reads_top_k
    if count is None:
        raise CheckSkipped("the alignment says that it looks at all tokens (reads_top_k is None)")
    for case in cases(alignment):
        if "cache" in case.title or count >= case.teacher.shape[1] - 1:
            continue
        known = replace(case, teacher=cut(case.teacher, count)).outcomes()
        for side, expected in zip(known, case.outcomes(), strict=True):
            expect_close(
                side,
                expected,
                f"{case.title}: reads_top_k is {count}, but a teacher of whom only the {count} most likely tokens are known "
                "gives other outcomes; look at these alone, and at the sum of the others",
                **CLOSE,
            )


def check_bridge_leaves_its_inputs(alignment: Alignment) -> None:
    """Logits and probabilities are shared by all losses of a run, so the bridge changes neither in place."""
    for case in cases(alignment):
        student, teacher = case.student.clone(), case.teacher.clone()
        case.outcomes()
        expect(
            torch.equal(case.student, student) and torch.equal(case.teacher, teacher),
            f"{case.title}: the bridge changes its inputs in place, and the run's losses would see that; work on copies.",
        )
