"""Checks of teacher views.

Shapes: B rows, L tokens of the teacher's side, C chunks.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tide_specs.batch import Batch, Side, TeacherPass
from tide_specs.teacher_view import TeacherView
from tide_specs.testing import texts
from tide_specs.testing.batches import draws_for, make_batch
from tide_specs.testing.outcome import expect


def problem(first: int = 0, count: int | None = None) -> tuple[Batch, Side, Tensor]:
    """Return a batch, its teacher's side, and a mask [B, L] of whole chunks and of single tokens outside them."""
    examples = texts.examples()[first:][:count]
    batch = make_batch(examples, texts.byte_tokenizer(), texts.word_tokenizer(), first_sample=first)
    assert batch.teacher is not None
    side = batch.teacher
    position = torch.arange(side.ids.shape[1])[None]
    # One decision per chunk, by its place in its row, so that it is the same in every batch.
    start = torch.where(
        side.chunk >= 0, side.chunk - side.chunk.masked_fill(side.chunk < 0, 1 << 30).amin(1)[:, None], 0
    )
    chosen = torch.where(side.chunk >= 0, start % 3 != 1, position % 2 == 0)
    return batch, side, chosen & side.maskable


def passes(view: TeacherView, seed: int = 0) -> tuple[Side, Tensor, Sequence[TeacherPass]]:
    """Ask the view for its passes over one batch."""
    batch, side, masked = problem()
    return side, masked, view.passes(side, masked, draws_for(batch, seed))


def exercise(view: TeacherView) -> None:
    """Plan the passes of two batches."""
    passes(view)
    passes(view, seed=1)


def check_shapes(view: TeacherView) -> None:
    """At least one pass, each with two boolean masks [B, L]."""
    _, masked, made = passes(view)
    expect(len(made) >= 1, "passes() returns no pass, so the teacher would never answer; return at least one.")
    for each in made:
        expect(
            each.masked.shape == masked.shape == each.counts.shape
            and each.masked.dtype == each.counts.dtype == torch.bool,
            "a pass does not consist of two boolean tensors [B, L]; return TeacherPass(masked=..., counts=...).",
        )


def check_each_answer_counts_once(view: TeacherView) -> None:
    """The passes' ``counts`` are disjoint and together are the masked positions."""
    for seed in range(4):
        _, masked, made = passes(view, seed)
        times = torch.stack([each.counts for each in made]).sum(0)
        expect(
            (times <= 1).all(),
            "a position counts in two passes, so its answer would be ambiguous; make counts disjoint.",
        )
        expect(
            (times > 0)[masked].all(),
            "a masked position counts in no pass, so the teacher never answers it; counts must cover masked.",
        )
        expect(not (times > 0)[~masked].any(), "a position that is not masked counts; counts must lie within masked.")


def check_no_answer_is_given_away(view: TeacherView) -> None:
    """A position's answer counts only in a pass that hides it, and no pass hides what the student sees."""
    _, masked, made = passes(view)
    for number, each in enumerate(made):
        expect(
            not (each.counts & ~each.masked).any(),
            f"pass {number} reads the true token at positions that it answers; hide what counts (counts within masked).",
        )
        expect(
            not (each.masked & ~masked).any(),
            f"pass {number} hides positions that are not masked; a view reveals some of the masked positions, no more.",
        )


def check_chunks_stay_whole(view: TeacherView) -> None:
    """All tokens of a chunk are answered in one pass, and hidden together."""
    for seed in range(4):
        side, masked, made = passes(view, seed)
        inside = (side.chunk >= 0) & masked
        for each in made:
            for what, values in (("answers", each.counts), ("hides", each.masked)):
                count = int(side.chunk.max()) + 1
                total, part = (
                    torch.zeros(count).index_add(0, side.chunk[inside], v[inside].float())
                    for v in (torch.ones_like(side.ids), values)
                )
                expect(
                    ((part == 0) | (part == total)).all(),
                    f"a pass {what} a chunk in part, so that the rest of it gives the answer away; decide once per chunk.",
                )


def check_split_belongs_to_the_sample(view: TeacherView) -> None:
    """A sample's passes do not depend on its batch, and come from ``draws`` alone."""
    _, _, together = passes(view)
    torch.rand(3)
    _, _, again = passes(view)
    same = all(torch.equal(a.counts, b.counts) for a, b in zip(together, again, strict=True))
    expect(same, "the same draws give different passes; take every random number from draws.uniform().")
    for row in (1, 3):
        batch, side, masked = problem(row, 1)
        for number, each in enumerate(view.passes(side, masked, draws_for(batch))):
            length = side.ids.shape[1]
            expect(
                torch.equal(each.counts[0], together[number].counts[row, :length]),
                "a sample's passes change with the rest of its batch; draw one number per position of the row.",
            )


def check_nothing_masked(view: TeacherView) -> None:
    """A batch without masked positions is served as well, and inputs stay unchanged."""
    batch, side, masked = problem()
    none = torch.zeros_like(masked)
    expect(
        not any(each.counts.any() for each in view.passes(side, none, draws_for(batch))),
        "with nothing masked something counts; counts must lie within masked.",
    )
    before = masked.clone()
    view.passes(side, masked, draws_for(batch))
    expect(torch.equal(masked, before), "passes() changes the mask in place; use a new tensor.")
