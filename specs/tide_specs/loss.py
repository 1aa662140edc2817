"""Losses: five lines of textbook mathematics; the core supplies the memory behaviour.

Shapes: n positions of one slice, V columns (vocabulary), c chunks of one slice. Logits arrive in float32. A loss returns
one number per position or chunk; the core multiplies by ``weight``, sums, and divides by ``denominator``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from .component import Component

if TYPE_CHECKING:
    from torch import Tensor

Denominator = Literal["maskable_tokens", "masked_tokens", "sequences", "chunks"]
"""What a sum is divided by, counted over the whole effective batch of all processes."""
Direction = Literal["forward", "reverse", "symmetric"]
Compares = Literal["student", "tokens", "chunks"]


@dataclass(frozen=True, kw_only=True)
class TokenContext:
    """What a loss may know of n positions; all tensors [n] on the device of the logits.

    targets int64: clean ids, as columns of the logits given; t float32 in (0, 1]; schedule_weight float32: w(t),
    corrected for whole-chunk masking; interpolation float32: lambda in [0, 1] (TIDE eq. 1-2); maskable_in_sequence
    float32: maskable tokens of the position's sequence; progress: step / steps, in [0, 1].
    """

    targets: Tensor
    t: Tensor
    schedule_weight: Tensor
    interpolation: Tensor
    maskable_in_sequence: Tensor
    progress: float

    def log_likelihood(self, student: Tensor) -> Tensor:
        """Log-likelihoods [n] of ``targets`` under logits [n, V], in nats; the losses of a run share the work."""
        return student.log_softmax(1).gather(1, self.targets[:, None])[:, 0]


@dataclass(frozen=True, kw_only=True)
class ChunkContext:
    """What a loss may know of c chunks; all tensors [c].

    t, schedule_weight, interpolation as in ``TokenContext``, taken at the chunk's first student token;
    student_tokens, teacher_tokens, bytes int64: the size of the chunk; relation int64: a ``ChunkRelation``.
    """

    t: Tensor
    schedule_weight: Tensor
    interpolation: Tensor
    student_tokens: Tensor
    teacher_tokens: Tensor
    bytes: Tensor
    relation: Tensor
    progress: float


class Loss(Component):
    """Kind ``loss``. Subclass ``SelfLoss``, ``TokenLoss`` or ``ChunkLoss``, not this class."""

    kind: ClassVar[str] = "loss"
    compares: ClassVar[Compares]
    """The port: ``student`` needs no teacher; ``tokens`` and ``chunks`` need an alignment that yields them."""
    direction: ClassVar[Direction | None] = None
    """Of a divergence: ``forward`` weighs by the teacher (mode-covering), ``reverse`` by the student (mode-seeking)."""
    interpolated: ClassVar[bool] = False
    """Whether the target is interpolated between student and teacher (TIDAL)."""
    is_divergence: ClassVar[bool] = False
    """Whether the loss is zero for equal distributions and positive otherwise; the conformance kit holds you to it."""

    weight: NonNegativeFloat = Field(default=1.0, description="factor of this term in the total loss")

    @property
    def denominator(self) -> Denominator:
        """What the sum over positions or chunks is divided by."""
        return "masked_tokens"


class SelfLoss(Loss):
    """A loss that looks at the student alone."""

    compares: ClassVar[Compares] = "student"
    likelihood_only: ClassVar[bool] = False
    """Whether ``per_token`` reads its logits through ``at.log_likelihood`` alone, so that they need not be kept."""

    @abstractmethod
    def per_token(self, student: Tensor, at: TokenContext) -> Tensor:
        """Student logits [n, V] at masked positions -> losses [n]."""
        raise NotImplementedError


class TokenLoss(Loss):
    """A loss that compares the distributions of teacher and student over one vocabulary, token by token."""

    compares: ClassVar[Compares] = "tokens"

    @abstractmethod
    def per_token(self, student: Tensor, teacher: Tensor, at: TokenContext) -> Tensor:
        """Student and teacher logits [n, V] over the same columns -> losses [n]. No gradient may reach the teacher: detach it."""
        raise NotImplementedError


class ChunkLoss(Loss):
    """A loss that compares how likely teacher and student find the same spans of text; vocabularies may differ."""

    compares: ClassVar[Compares] = "chunks"

    @property
    def denominator(self) -> Denominator:
        """Chunk losses are averaged over active chunks."""
        return "chunks"

    @abstractmethod
    def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
        """Log-likelihoods [c] in nats (<= 0) of the same c text spans -> losses [c]. No gradient may reach the teacher: detach it."""
        raise NotImplementedError
