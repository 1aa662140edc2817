"""Small correct components, from which the mutants differ in one thing each."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from tide_specs import (
    AlignedPair,
    Alignment,
    AlignmentError,
    ChunkContext,
    ChunkLoss,
    ChunkRelation,
    Direction,
    EncodedExample,
    Interpolation,
    NoiseSchedule,
    SelfLoss,
    TokenContext,
    TokenKind,
    TokenLoss,
)

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


class KitChunks(Alignment):
    """Cuts at every common boundary, by plain loops; the reference that fast alignments are tested against."""

    name: Literal["kit_chunks"] = "kit_chunks"

    def align(self, student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
        import numpy as np

        ours, theirs = self.boundaries(student), self.boundaries(teacher)
        complete = {key[0] for key in ours if key[1] < 0} & {key[0] for key in theirs if key[1] < 0}
        for message in complete:
            if self.last(ours, message) != self.last(theirs, message):
                raise AlignmentError(f"message {message} is not of the same length on both sides")
        common = sorted(ours.keys() & theirs.keys(), key=lambda key: (key[0], key[1] < 0, key[1]))
        left, right = self.number(student, ours, common), self.number(teacher, theirs, common)
        sizes, start = [], (-1, 0)
        for message, end in common:
            first = start[1] if start[0] == message else 0
            sizes.append(end - first if end >= 0 else 0)
            start = (message, end) if end >= 0 else start
        counts = [(left.count(c), right.count(c)) for c in range(len(common))]
        relation = [self.relation(s, t) for s, t in counts]
        as_array = [np.array(side, dtype=np.int32) for side in (left, right, sizes)]
        return AlignedPair(
            student=as_array[0], teacher=as_array[1], bytes=as_array[2], relation=np.array(relation, dtype=np.int8)
        )

    def boundaries(self, side: EncodedExample) -> dict[tuple[int, int], int]:
        """(message, byte) -> token; byte -1 is the end of the turn."""
        found = {}
        for place, (kind, message, end) in enumerate(zip(side.kind, side.message, side.end, strict=True)):
            if kind == TokenKind.END_OF_TURN:
                found[int(message), -1] = place
            elif kind == TokenKind.CONTENT and end >= 0:
                found[int(message), int(end)] = place
        return found

    def last(self, boundaries: dict[tuple[int, int], int], message: int) -> int:
        return max((end for number, end in boundaries if number == message), default=0)

    def number(
        self, side: EncodedExample, boundaries: dict[tuple[int, int], int], common: list[tuple[int, int]]
    ) -> list[int]:
        chunk = [-1] * len(side.ids)
        for index, key in enumerate(common):
            last = boundaries[key]
            chunk[last] = index
            place = last - 1
            while key[1] >= 0 and self.continues(side, place, key[0]) and chunk[place] < 0:
                chunk[place] = index
                place -= 1
        return chunk

    def continues(self, side: EncodedExample, place: int, message: int) -> bool:
        return place >= 0 and side.message[place] == message and side.kind[place] == TokenKind.CONTENT

    def relation(self, student: int, teacher: int) -> ChunkRelation:
        if student == 1:
            return ChunkRelation.ONE_TO_ONE if teacher == 1 else ChunkRelation.ONE_TO_MANY
        return ChunkRelation.MANY_TO_ONE if teacher == 1 else ChunkRelation.MANY_TO_MANY
