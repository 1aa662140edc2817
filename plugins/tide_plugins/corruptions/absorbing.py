"""The absorbing corruption: hidden tokens become the mask token.

Shapes: B rows, L tokens of a side, C chunks of the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tide_specs import Batch, DataError, Draws, Noise, NoisedSide, NoiseSchedule, Side, TextTokenizer

from .options import UnitCorruption

if TYPE_CHECKING:
    from torch import Tensor


class Absorbing(UnitCorruption):
    """Masking: a unit (a chunk, or a trainable token outside chunks) is hidden with probability 1 - alpha(t), on both sides.

    Teacher tokens of a hidden chunk are masked too, all others stay clean. A teacher without a mask token (autoregressive)
    keeps its clean tokens. Nothing forces a sequence to have a masked token: at small t some have none.
    """

    name: Literal["absorbing"] = "absorbing"

    def corrupt(
        self,
        batch: Batch,
        t: Tensor,
        schedule: NoiseSchedule,
        draws: Draws,
        student: TextTokenizer,
        teacher: TextTokenizer | None,
    ) -> Noise:
        """Mask a batch; t [B, L]."""
        from .units import hide_units, per_chunk

        if student.mask_token_id is None:
            raise DataError(
                "corruption 'absorbing' needs a student with a mask token, and this tokenizer has none: "
                "let the architecture add one, or use corruption 'uniform'"
            )
        drawn = hide_units(batch, t, schedule, draws, per_token=self.masking == "token", correct=self.correct_weight)
        studied = noised_side(batch.student, drawn.hidden, drawn.weight, student.mask_token_id)
        taught = None
        if batch.teacher is not None:
            chunk = batch.student.chunk
            hidden = per_chunk(drawn.hidden, chunk, batch.chunks)[batch.teacher.chunk]
            weight = per_chunk(drawn.weight, chunk, batch.chunks)[batch.teacher.chunk]
            taught = noised_side(batch.teacher, hidden, weight, None if teacher is None else teacher.mask_token_id)
        return Noise(t=drawn.t, student=studied, teacher=taught)


def noised_side(side: Side, masked: Tensor, weight: Tensor, mask_token_id: int | None) -> NoisedSide:
    """Write the mask token over masked positions [B, L]; without one the tokens stay clean."""
    noised = side.ids if mask_token_id is None else side.ids.masked_fill(masked, mask_token_id)
    return NoisedSide(noised=noised, masked=masked, weight=weight)
