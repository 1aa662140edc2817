"""The uniform corruption: hidden tokens become random ones (no mask token; DiffusionGemma, Duo).

Shapes: B rows, L tokens of a side, C chunks of the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tide_specs import Batch, Draws, Noise, NoisedSide, NoiseSchedule, Side, TextTokenizer

from .options import UnitCorruption

if TYPE_CHECKING:
    from torch import Tensor


class Uniform(UnitCorruption):
    """Replacement: a unit is replaced with probability 1 - alpha(t), each token by one drawn uniformly from its vocabulary.

    Special and unused ids are never drawn; a token may be replaced by itself. Since the model cannot see what was
    replaced, the cross-entropy under w(t) is a denoising objective here, not a likelihood bound.
    """

    name: Literal["uniform"] = "uniform"
    score: Literal["corrupted", "all"] = Field(
        default="corrupted",
        description="predict replaced tokens only, weighted by w(t), or every trainable token, weighted by -alpha'(t), "
        "which is the same weight on average",
    )

    def needs_mask_token(self) -> bool:
        """No."""
        return False

    def corrupt(
        self,
        batch: Batch,
        t: Tensor,
        schedule: NoiseSchedule,
        draws: Draws,
        student: TextTokenizer,
        teacher: TextTokenizer | None,
    ) -> Noise:
        """Replace tokens of a batch; t [B, L]."""
        from .units import hide_units, per_chunk

        drawn = hide_units(batch, t, schedule, draws, per_token=self.masking == "token", correct=self.correct_weight)
        scored, weight = drawn.hidden, drawn.weight
        if self.score == "all":
            scored = batch.student.maskable
            weight = (-schedule.alpha_prime(drawn.t)).float().masked_fill(~scored, 0.0)
        studied = NoisedSide(
            noised=replaced(batch.student, drawn.hidden, draws, student, "student"), masked=scored, weight=weight
        )
        taught = None
        if batch.teacher is not None:
            chunk, other = batch.student.chunk, batch.teacher.chunk
            hidden = per_chunk(drawn.hidden, chunk, batch.chunks)[other]
            taught = NoisedSide(
                noised=batch.teacher.ids
                if teacher is None
                else replaced(batch.teacher, hidden, draws, teacher, "teacher"),
                masked=per_chunk(scored, chunk, batch.chunks)[other],
                weight=per_chunk(weight, chunk, batch.chunks)[other],
            )
        return Noise(t=drawn.t, student=studied, teacher=taught)


def replaced(side: Side, hidden: Tensor, draws: Draws, tokenizer: TextTokenizer, who: str) -> Tensor:
    """Ids [B, L] whose hidden positions hold random ordinary tokens of the side's vocabulary."""
    from .vocabulary import ordinary_ids

    ids = ordinary_ids(tokenizer, side.ids.device)
    drawn = draws.uniform(f"replacement/{who}", side.ids.shape[1]).to(side.ids.device)
    return ids[(drawn * ids.shape[0]).long()].where(hidden, side.ids)
