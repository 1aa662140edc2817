"""What the losses of a run are evaluated with, and the slices in which that is done.

Shapes: N masked student positions, K loss terms, A active chunks of a teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from tide_core.blame import Describe
from tide_core.blame import describe as describe_component
from tide_core.method import Term
from tide_core.micro_batch import MicroBatch
from tide_specs import SharedColumns, VocabularyBridge


@dataclass(frozen=True, kw_only=True)
class LessonObjective:
    """What the losses that compare with one teacher may know beside logits.

    interpolation_tokens [N] and interpolation_chunks [A]: lambda. factor [A]: how much the teacher is listened to;
    ``None``: 1 everywhere.
    """

    interpolation_tokens: Tensor
    interpolation_chunks: Tensor
    columns: SharedColumns | None = None
    bridge: VocabularyBridge | None = None
    factor: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The loss terms of a run and what they may know beside logits.

    ``scales`` [K]: weight of each term divided by its denominator over the effective batch. ``interpolation`` [N]: lambda
    for terms that look at the student alone. ``lessons``: one per teacher of the micro-batch.
    """

    terms: Sequence[Term]
    scales: Tensor
    progress: float
    interpolation: Tensor
    lessons: Sequence[LessonObjective]
    slice_elements: int
    describe: Describe = describe_component


@dataclass(frozen=True, kw_only=True)
class Part:
    """One slice: positions [start, stop), and of each teacher the chunks and the range of ``Taught.shared`` inside it."""

    start: int
    stop: int
    chunks: Sequence[slice]
    shared: Sequence[slice]

    @property
    def rows(self) -> slice:
        """Positions."""
        return slice(self.start, self.stop)


def parts(work: MicroBatch, rows: int) -> Iterator[Part]:
    """Cut the N positions into slices of like size, about ``rows`` at most, and never through a chunk.

    A slice that would end inside a chunk takes in the rest of it.
    """
    begin, last = work.cuts[0], work.cuts[-1]
    # Even slices: a short one at the end would cost nearly as much as a full one, since each reads the whole head.
    size = -(-last.position // max(1, -(-last.position // rows)))
    for cut in work.cuts[1:]:
        if cut is last or cut.position - begin.position >= size:
            yield Part(
                start=begin.position,
                stop=cut.position,
                chunks=[slice(*ends) for ends in zip(begin.chunks, cut.chunks, strict=True)],
                shared=[slice(*ends) for ends in zip(begin.shared, cut.shared, strict=True)],
            )
            begin = cut
