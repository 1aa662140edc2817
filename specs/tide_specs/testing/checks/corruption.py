"""Checks of corruptions, on batches with chunks, padding and both sides.

Shapes: B rows, L tokens of a side, C chunks.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from tide_specs.batch import Batch, Noise, NoisedSide, Side
from tide_specs.byte_tokenizer import ByteTokenizer
from tide_specs.corruption import Corruption
from tide_specs.schedule import NoiseSchedule
from tide_specs.testing import texts
from tide_specs.testing.batches import draws_for, make_batch
from tide_specs.testing.outcome import CheckSkipped, expect


class _Power(NoiseSchedule):
    """1 - t ** exponent."""

    name: Literal["power"] = "power"
    exponent: float = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t**self.exponent

    def alpha_prime(self, t: Tensor) -> Tensor:
        return -self.exponent * t ** (self.exponent - 1)

    def weight(self, t: Tensor) -> Tensor:
        return self.exponent / t


def batch() -> Batch:
    """Return texts and conversations, tokenised differently by the two sides."""
    return make_batch(texts.examples(), texts.word_tokenizer(), texts.byte_tokenizer(), multiple=4)


def noise(corruption: Corruption, given: Batch, t: float = 0.5, *, seed: int = 0, exponent: float = 1.0) -> Noise:
    """Corrupt a batch at one time."""
    times = torch.full(given.student.ids.shape, t)
    teacher = None if given.teacher is None else texts.byte_tokenizer()
    schedule = _Power(exponent=exponent)
    return corruption.corrupt(given, times, schedule, draws_for(given, seed), texts.word_tokenizer(), teacher)


def sides(given: Batch, made: Noise) -> Iterator[tuple[str, Side, NoisedSide]]:
    """Yield name, clean side and noised side."""
    yield "student", given.student, made.student
    if given.teacher is not None:
        expect(made.teacher is not None, "the batch has a teacher's side, but the noise has none; corrupt both sides.")
        assert made.teacher is not None
        yield "teacher", given.teacher, made.teacher


def exercise(corruption: Corruption) -> None:
    """Corrupt a batch, with and without a teacher."""
    noise(corruption, batch())
    noise(corruption, make_batch(texts.examples()[:2], texts.word_tokenizer()))


def check_shapes(corruption: Corruption) -> None:
    """Ids and masks have the shape of their side; t and weights are float32."""
    given = batch()
    made = noise(corruption, given)
    expect(
        made.t.shape == given.student.ids.shape and made.t.dtype == torch.float32,
        "Noise.t is not float32 [B, L] of the student; return the time of every student token.",
    )
    for name, clean, noised in sides(given, made):
        shapes = {noised.noised.shape, noised.masked.shape, noised.weight.shape}
        expect(shapes == {clean.ids.shape}, f"the {name}'s noised, masked and weight are not all [B, L] of its side.")
        expect(
            (noised.noised.dtype, noised.masked.dtype, noised.weight.dtype) == (torch.int64, torch.bool, torch.float32),
            f"the {name}'s noised, masked and weight must be int64, bool and float32.",
        )


def check_only_maskable_tokens_change(corruption: Corruption) -> None:
    """Prompts, markup and padding are never hidden, and what is not hidden stays as it was."""
    given = batch()
    for t in (0.3, 1.0):
        for name, clean, noised in sides(given, noise(corruption, given, t)):
            expect(
                not (noised.masked & ~clean.maskable).any(),
                f"the {name} must predict positions that are not maskable (prompt, markup or padding); use masked & maskable.",
            )
            changed = (noised.noised != clean.ids) & ~noised.masked
            expect(
                not changed.any(),
                f"the {name}'s tokens change where masked is false; a changed token must be predicted, every other kept.",
            )


def check_chunks_are_hidden_whole(corruption: Corruption) -> None:
    """A chunk is hidden with all its tokens on both sides, or not at all."""
    given = batch()
    for t in (0.3, 0.6):
        made = noise(corruption, given, t)
        hidden: list[Tensor] = []
        for name, clean, noised in sides(given, made):
            inside = clean.chunk >= 0
            total, masked = (
                torch.zeros(given.chunks).index_add(0, clean.chunk[inside], values[inside].float())
                for values in (torch.ones_like(clean.ids), noised.masked)
            )
            expect(
                ((masked == 0) | (masked == total)).all(),
                f"a chunk of the {name} is hidden in part, so that its likelihood would leak; hide whole chunks.",
            )
            hidden.append(masked > 0)
        expect(
            torch.equal(*hidden),
            "a chunk is hidden on one side and visible on the other; take the decision once per chunk, for both sides.",
        )


def check_weights(corruption: Corruption) -> None:
    """Weights are finite, zero where nothing is predicted and positive where something is."""
    given = batch()
    for t in (1e-3, 0.5, 1.0):
        for name, _, noised in sides(given, noise(corruption, given, t)):
            weight = noised.weight
            expect(
                (weight.isfinite() & (weight >= 0)).all(), f"the {name}'s weights are not finite and >= 0 at t = {t}."
            )
            expect(
                (weight[~noised.masked] == 0).all(),
                f"the {name}'s weight is not zero where masked is false; multiply it by masked.",
            )
    made = noise(corruption, given).student
    expect(
        (made.weight[made.masked] > 0).all(), "the student's weight is 0 at masked positions; use schedule.weight(t)."
    )


def check_rate(corruption: Corruption) -> None:
    """More time hides more, at the schedule's rate: nothing at t = 0, everything maskable at t = 1."""
    given = _many(make_batch(texts.examples(), texts.word_tokenizer()))
    maskable = given.student.maskable

    def changed(t: float, exponent: float = 1.0) -> float:
        made = noise(corruption, given, t, exponent=exponent).student
        return (made.noised != given.student.ids)[maskable].float().mean().item()

    none, half, every, later = changed(1e-6), changed(0.5), changed(1.0), changed(0.5, 3.0)
    expect(
        none < 0.01, f"at t = 0 a share of {none:.2f} is hidden; hide with probability 1 - alpha(t), and alpha(0) = 1."
    )
    expect(every > 0.95, f"at t = 1 only {every:.2f} of the maskable tokens is hidden; alpha(1) = 0, so hide all.")
    expect(0.3 < half < 0.75, f"at t = 0.5 of a linear schedule {half:.2f} is hidden; the rate must be 1 - alpha(t).")
    expect(
        later < half - 0.1,
        f"a schedule that hides 1 / 8 at t = 0.5 gives {later:.2f}, a linear one {half:.2f}; ask the schedule, not t.",
    )


def _many(given: Batch, times: int = 20) -> Batch:
    side = given.student
    repeated = Side(
        ids=side.ids.repeat(times, 1),
        maskable=side.maskable.repeat(times, 1),
        lengths=side.lengths.repeat(times),
        chunk=side.chunk.repeat(times, 1),
    )
    count = len(given.samples) * times
    return Batch(
        student=repeated,
        chunk_bytes=given.chunk_bytes,
        chunk_relation=given.chunk_relation,
        samples=torch.arange(count),
        positions=torch.arange(count),
        effective_size=count,
    )


def check_noise_belongs_to_the_sample(corruption: Corruption) -> None:
    """A sample's noise does not depend on its batch, on padding, or on torch's global generator."""
    examples = texts.examples()
    together = noise(corruption, batch())
    torch.rand(3)
    again = noise(corruption, batch())
    same = torch.equal(together.student.noised, again.student.noised)
    expect(same, "the same draws give different noise; take every random number from draws.uniform().")
    other = noise(corruption, batch(), seed=1)
    expect(
        not torch.equal(other.student.noised, together.student.noised),
        "another seed gives the same noise; take random numbers from draws.uniform().",
    )
    for row in (1, 4):
        alone = make_batch([examples[row]], texts.word_tokenizer(), texts.byte_tokenizer(), first_sample=row)
        for name, mine, whole in zip(
            ("student", "teacher"), sides(alone, noise(corruption, alone)), sides(batch(), together), strict=True
        ):
            length = mine[1].ids.shape[1]
            expect(
                torch.equal(mine[2].noised[0], whole[2].noised[row, :length]),
                f"the {name}'s noise of a sample changes with the rest of its batch; draw for the row, e.g. one number per "
                "position from draws.uniform(), never per batch.",
            )


def check_batch_stays_unchanged(corruption: Corruption) -> None:
    """The clean tokens of the batch are left as they were."""
    given = batch()
    noise(corruption, given)
    for name, clean, fresh in zip(
        ("student", "teacher"), (given.student, given.teacher), (batch().student, batch().teacher), strict=True
    ):
        assert clean is not None and fresh is not None
        same = torch.equal(clean.ids, fresh.ids) and torch.equal(clean.maskable, fresh.maskable)
        expect(same, f"corrupt() changes the {name}'s clean batch in place, and targets would be lost; use a copy.")


def check_without_teacher(corruption: Corruption) -> None:
    """A batch without a teacher's side gives noise without one."""
    made = noise(corruption, make_batch(texts.examples(), texts.word_tokenizer()))
    expect(made.teacher is None, "the batch has no teacher, but the noise has a teacher's side; return None there.")


class _Maskless(ByteTokenizer):
    """A tokenizer without a mask token."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.mask_token_id = None


def check_autoregressive_teacher(corruption: Corruption) -> None:
    """A teacher without a mask token keeps clean tokens when the corruption needs a mask, and says which count."""
    if not corruption.needs_mask_token():
        raise CheckSkipped("the corruption needs no mask token")
    given = batch()
    times = torch.full(given.student.ids.shape, 0.6)
    made = corruption.corrupt(given, times, _Power(), draws_for(given), texts.word_tokenizer(), _Maskless())
    assert given.teacher is not None and made.teacher is not None
    expect(
        torch.equal(made.teacher.noised, given.teacher.ids),
        "a teacher without a mask token must keep its clean tokens; set noised to its ids and let masked say what counts.",
    )
    expect(made.teacher.masked.any(), "nothing counts for a teacher without a mask token; masked must say what does.")


def check_mask_token(corruption: Corruption) -> None:
    """``needs_mask_token`` tells the truth: without one the corruption works, or says that it needs one."""
    if corruption.needs_mask_token():
        raise CheckSkipped("the corruption needs a mask token")
    given = make_batch(texts.examples(), _Maskless())
    times = torch.full(given.student.ids.shape, 0.6)
    made = corruption.corrupt(given, times, _Power(), draws_for(given), _Maskless(), None)
    expect(
        ((made.student.noised >= 0) & (made.student.noised < _Maskless().vocabulary_size)).all(),
        "needs_mask_token() is false, but noised holds ids that the student's vocabulary does not have.",
    )
