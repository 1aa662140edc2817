"""Losses: five lines of textbook mathematics; the core supplies the memory behaviour.

Shapes: n positions of one slice, V columns (vocabulary), c chunks of one slice, K outcomes of a bridge, H hidden size.
Logits arrive in float32. A loss returns one number per position or chunk; the core multiplies by ``weight``, sums, and
divides by ``denominator``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from .component import Component

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .denoiser import Head

Denominator = Literal["maskable_tokens", "masked_tokens", "sequences", "chunks"]
"""What a sum is divided by, counted over the whole effective batch of all processes."""
Direction = Literal["forward", "reverse", "symmetric"]
Compares = Literal["student", "tokens", "chunks", "projected", "ranked", "states"]
Resolution = Literal["word", "line"]
"""Coarser spans of text than chunks, as the student's tokens show them."""


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
    student_tokens, teacher_tokens, bytes int64: the size of the chunk; relation int64: a ``ChunkRelation``. spans
    int64: for each resolution that a loss of the run asks for (``ChunkLoss.resolutions``), the number, rising, of the
    word or line that the chunk begins in; a slice never cuts such a span.
    """

    t: Tensor
    schedule_weight: Tensor
    interpolation: Tensor
    student_tokens: Tensor
    teacher_tokens: Tensor
    bytes: Tensor
    relation: Tensor
    progress: float
    spans: Mapping[Resolution, Tensor] = field(default_factory=lambda: {})


@dataclass(frozen=True, kw_only=True)
class StartContext(ChunkContext):
    """What a loss or a bridge may know of the places where c chunks begin; all tensors [c].

    targets, teacher_targets int64: id of the first token of the chunk on each side; teacher_log_likelihood float32: of
    the whole chunk, in nats.
    """

    targets: Tensor
    teacher_targets: Tensor
    teacher_log_likelihood: Tensor


@dataclass(frozen=True, kw_only=True)
class FeatureContext(StartContext):
    """What a feature loss may know of c chunks.

    sequence [c] int64: number, rising, of the sequence that the chunk belongs to. student_head, teacher_head: the output
    projections, detached, for losses that compare distributions made from states.
    """

    sequence: Tensor
    student_head: Head
    teacher_head: Head


class Loss(Component):
    """Kind ``loss``. Subclass ``SelfLoss``, ``TokenLoss`` or ``ChunkLoss``, not this class."""

    kind: ClassVar[str] = "loss"
    compares: ClassVar[Compares]
    """The port: ``student`` needs no teacher; ``states`` needs chunks; the others need an alignment that yields them."""
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

    @property
    def reads_top_k(self) -> int | None:
        """How many of the teacher's most likely tokens the loss looks at, the rest being one number; ``None``: all.

        A loss that says so can learn from a cache that holds as many.
        """
        return None


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
    resolutions: ClassVar[tuple[Resolution, ...]] = ()
    """Coarser spans over which the loss sums; ``at.spans`` then holds them, and no slice cuts them."""

    @property
    def denominator(self) -> Denominator:
        """Chunk losses are averaged over active chunks."""
        return "chunks"

    @abstractmethod
    def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
        """Log-likelihoods [c] in nats (<= 0) of the same c text spans -> losses [c]. No gradient may reach the teacher: detach it."""
        raise NotImplementedError


class DistributionLoss(Loss):
    """A loss that compares whole distributions where a chunk begins; the alignment's bridge made them comparable."""

    compares: ClassVar[Compares] = "projected"

    @property
    def denominator(self) -> Denominator:
        """Averaged over active chunks."""
        return "chunks"

    @abstractmethod
    def per_start(self, student: Tensor, teacher: Tensor, at: StartContext) -> Tensor:
        """Student log-probabilities [c, K] and teacher probabilities [c, K] of the same K outcomes -> losses [c].

        Teacher probabilities may be zero. No gradient may reach the teacher: detach it.
        """
        raise NotImplementedError


class FeatureLoss(Loss):
    """A loss that compares hidden states; what it needs to learn for that (projections) is trained with the student."""

    compares: ClassVar[Compares] = "states"

    @property
    def denominator(self) -> Denominator:
        """Averaged over active chunks."""
        return "chunks"

    @abstractmethod
    def build(self, student_size: int, teacher_size: int) -> nn.Module:
        """Return the loss's own trainable module for hidden sizes of both sides; ``nn.Module()`` where it needs none."""
        raise NotImplementedError

    @abstractmethod
    def per_chunk(self, student: Tensor, teacher: Tensor, module: Any, at: FeatureContext) -> Tensor:
        """Mean hidden states [c, H_S] and [c, H_T] over the masked tokens of the same c chunks -> losses [c].

        ``module`` is what ``build`` returned, on the device of the states, which arrive in float32. No gradient may reach
        the teacher.
        """
        raise NotImplementedError
