"""The objective of a run: its terms, what noises the text, and what each teacher contributes.

A run has T lessons, one per teacher (none without one); K loss terms, in the order of the run file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tide_core.blame import Describe
from tide_core.blame import describe as describe_component
from tide_core.micro_batch import Count, KnownAnswers, TeacherRows
from tide_core.settings import Timesteps
from tide_specs import (
    Batch,
    ChunkLoss,
    Corruption,
    Denoiser,
    DistributionLoss,
    FeatureLoss,
    Interpolation,
    Loss,
    NoiseSchedule,
    Resolution,
    SharedColumns,
    TeacherView,
    TeacherWeighting,
    TextTokenizer,
    TokenLoss,
    VocabularyBridge,
)

NEEDS_STATES = (TokenLoss, DistributionLoss, FeatureLoss)
NEEDS_LIKELIHOODS = (ChunkLoss, DistributionLoss, FeatureLoss)


class RecordedTeacher(Protocol):
    """A teacher whose answers were written down: it is asked for them while a batch is prepared, on the CPU."""

    tokenizer: TextTokenizer
    block_size: int | None
    columns: int
    """Columns of the teacher's head."""

    def answers(self, batch: Batch, epochs: Sequence[int], rows: TeacherRows) -> KnownAnswers:
        """Return what is known of the teacher positions of a noised batch; ``epochs`` [B] are those of its draws."""
        ...


@dataclass(frozen=True, kw_only=True)
class Term:
    """One loss of the run. lesson: number of the teacher that it compares with, ``None`` for the student alone."""

    loss: Loss
    lesson: int | None = None


def terms_of(losses: Sequence[Loss], lesson: int = 0) -> list[Term]:
    """Return a term for each loss; those that compare do so with teacher number ``lesson``."""
    return [Term(loss=loss, lesson=None if loss.compares == "student" else lesson) for loss in losses]


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What one teacher contributes.

    columns and bridge: what its alignment says of both vocabularies, where the losses need it. weighting: ``None`` for 1.
    """

    teacher: Denoiser | RecordedTeacher
    view: TeacherView
    interpolation: Interpolation
    columns: SharedColumns | None = None
    bridge: VocabularyBridge | None = None
    weighting: TeacherWeighting | None = None

    @property
    def denoiser(self) -> Denoiser | None:
        """The teacher, where it is a model that runs."""
        return self.teacher if isinstance(self.teacher, Denoiser) else None


@dataclass(frozen=True, kw_only=True)
class Method:
    """The components that define the objective of a run. interpolation: for terms that look at the student alone."""

    terms: Sequence[Term]
    schedule: NoiseSchedule
    corruption: Corruption
    interpolation: Interpolation
    timesteps: Timesteps
    lessons: Sequence[Lesson] = ()
    describe: Describe = describe_component

    def losses(self, lesson: int | None) -> list[Loss]:
        """Return the losses that compare with a teacher, by number."""
        return [term.loss for term in self.terms if term.lesson == lesson]

    def asks(self, lesson: int, kinds: tuple[type[Loss], ...]) -> bool:
        """Whether a loss of one of these kinds compares with a teacher."""
        return any(isinstance(loss, kinds) for loss in self.losses(lesson))

    @property
    def reads_likelihoods(self) -> bool:
        """Whether a weighting looks at how likely every teacher finds a text."""
        return any(lesson.weighting is not None and lesson.weighting.reads_likelihoods for lesson in self.lessons)

    @property
    def needs_teacher(self) -> bool:
        """Whether any loss compares with a teacher; where none does, a teacher in the run costs nothing in a step."""
        return any(term.lesson is not None for term in self.terms)

    @property
    def resolutions(self) -> tuple[Resolution, ...]:
        """The coarser spans over which losses sum."""
        asked = [name for term in self.terms if isinstance(term.loss, ChunkLoss) for name in term.loss.resolutions]
        return tuple(dict.fromkeys(asked))

    def denominators(self) -> list[Count]:
        """What each term's sum is divided by; a token loss counts only the positions that it compares."""
        return [
            "compared_tokens"
            if isinstance(term.loss, TokenLoss) and term.loss.denominator == "masked_tokens"
            else term.loss.denominator
            for term in self.terms
        ]
