"""A corruption: hide chunks and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tide_specs import (
    Batch,
    Corruption,
    DataError,
    Draws,
    Noise,
    NoisedSide,
    NoiseSchedule,
    Side,
    TextTokenizer,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import Tensor


class WholeChunks(Corruption):
    """Masks chunks with probability 1 - alpha(t), and every trainable token outside chunks by a draw of its own."""

    name: Literal["whole_chunks"] = "whole_chunks"

    def corrupt(
        self,
        batch: Batch,
        t: Tensor,
        schedule: NoiseSchedule,
        draws: Draws,
        student: TextTokenizer,
        teacher: TextTokenizer | None,
    ) -> Noise:
        """Decide at each unit's first token [B, L], and carry the decision over to the teacher by chunk number."""
        import torch

        if student.mask_token_id is None:
            raise DataError("corruption 'whole_chunks' needs a student with a mask token")
        side = batch.student
        column = torch.arange(t.shape[1], device=t.device).expand(t.shape)
        inside = torch.zeros_like(side.maskable)
        inside[:, 1:] = (side.chunk[:, 1:] == side.chunk[:, :-1]) & (side.chunk[:, 1:] >= 0)
        first = column.masked_fill(inside, 0).cummax(1).values
        time = t.gather(1, first)
        drawn = draws.uniform("whole_chunks", t.shape[1]).to(t.device).gather(1, first)
        hidden = (drawn < 1 - schedule.alpha(time)) & side.maskable
        weight = schedule.weight(time).float() * hidden
        studied = _noised(side, hidden, weight, student.mask_token_id)
        if batch.teacher is None:
            return Noise(t=time.float(), student=studied)
        other = batch.teacher.chunk
        mask = None if teacher is None else teacher.mask_token_id
        taught = _noised(
            batch.teacher, _of(other, side, hidden, batch.chunks), _of(other, side, weight, batch.chunks), mask
        )
        return Noise(t=time.float(), student=studied, teacher=taught)


def _of(other: Tensor, side: Side, values: Tensor, chunks: int) -> Tensor:
    """Values [B, L] of the student's chunks at the teacher's tokens; zero outside chunks (id -1, the last entry)."""
    table = values.new_zeros(chunks + 1)
    table[side.chunk.flatten()] = values.flatten()
    table[-1] = 0
    return table[other]


def _noised(side: Side, masked: Tensor, weight: Tensor, mask: int | None) -> NoisedSide:
    noised = side.ids if mask is None else side.ids.masked_fill(masked, mask)
    return NoisedSide(noised=noised, masked=masked, weight=weight)


@hookimpl
def tide_corruptions() -> list[type[WholeChunks]]:
    """Contribute the corruption."""
    return [WholeChunks]
