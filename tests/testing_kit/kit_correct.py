"""Small correct components, from which the mutants differ in one thing each."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from tide_specs import (
    ChunkContext,
    ChunkLoss,
    Direction,
    Interpolation,
    NoiseSchedule,
    SelfLoss,
    TeacherWeighting,
    TokenContext,
    TokenLoss,
    WeightingContext,
)
from tide_specs.testing.plain_alignment import PlainAlignment

if TYPE_CHECKING:
    from torch import Tensor


class KitForwardKL(TokenLoss):
    """KL(teacher || student)."""

    name: Literal["kit_forward_kl"] = "kit_forward_kl"
    is_divergence: ClassVar[bool] = True
    direction: ClassVar[Direction | None] = "forward"
    temperature: PositiveFloat = Field(default=1.0, description="divides both sides' logits")

    def per_token(self, student: Tensor, teacher: Tensor, at: TokenContext) -> Tensor:
        log_p = (teacher.detach() / self.temperature).log_softmax(1)
        log_q = (student / self.temperature).log_softmax(1)
        return (log_p.exp() * (log_p - log_q)).sum(1)


class KitCrossEntropy(SelfLoss):
    """-log p(target)."""

    name: Literal["kit_cross_entropy"] = "kit_cross_entropy"

    def per_token(self, student: Tensor, at: TokenContext) -> Tensor:
        return -student.log_softmax(1).gather(1, at.targets[:, None])[:, 0]


class KitTidal(TokenLoss):
    """KL to a target between student and teacher."""

    name: Literal["kit_tidal"] = "kit_tidal"
    is_divergence: ClassVar[bool] = True
    interpolated: ClassVar[bool] = True

    def per_token(self, student: Tensor, teacher: Tensor, at: TokenContext) -> Tensor:
        share = at.interpolation[:, None]
        log_r = ((1 - share) * self.own(student) + share * teacher.detach()).log_softmax(1)
        return (log_r.exp() * (log_r - student.log_softmax(1))).sum(1)

    def own(self, student: Tensor) -> Tensor:
        return student.detach()


class KitChunkGap(ChunkLoss):
    """Squared difference of log-likelihoods, per byte."""

    name: Literal["kit_chunk_gap"] = "kit_chunk_gap"
    is_divergence: ClassVar[bool] = True

    def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
        return (student - teacher.detach()) ** 2 / at.bytes


class KitLinear(NoiseSchedule):
    """alpha = 1 - t."""

    name: Literal["kit_linear"] = "kit_linear"

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def alpha_prime(self, t: Tensor) -> Tensor:
        return t * 0 - 1

    def weight(self, t: Tensor) -> Tensor:
        return 1 / t


class KitRamp(Interpolation):
    """progress * (1 - t)."""

    name: Literal["kit_ramp"] = "kit_ramp"

    def weight(self, progress: float, t: Tensor) -> Tensor:
        return progress * (1 - t)


class KitShare(TeacherWeighting):
    """Progress times the share of the likelihood that the teacher has among all."""

    name: Literal["kit_share"] = "kit_share"
    reads_likelihoods: ClassVar[bool] = True

    def factor(self, at: WeightingContext) -> Tensor:
        return at.progress * at.likelihoods.softmax(1)[:, at.teacher]


class KitChunks(PlainAlignment):
    """Cuts at every common boundary."""
