"""A teacher view: more passes, each hiding less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tide_specs import Draws, Side, TeacherPass, TeacherView, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class Folds(TeacherView):
    """The masked text in ``count`` parts; each pass hides one part and reveals the others."""

    name: Literal["folds"] = "folds"
    count: int = Field(default=3, ge=2, description="passes of the teacher, each with 1 / count of the mask")

    def passes(self, side: Side, masked: Tensor, draws: Draws) -> Sequence[TeacherPass]:
        """Masked positions [B, L] -> disjoint masks that cover them; a chunk goes where its first token goes."""
        import torch

        column = torch.arange(masked.shape[1], device=masked.device).expand(masked.shape)
        inside = torch.zeros_like(masked)
        inside[:, 1:] = (side.chunk[:, 1:] == side.chunk[:, :-1]) & (side.chunk[:, 1:] >= 0)
        first = column.masked_fill(inside, 0).cummax(1).values
        drawn = draws.uniform("folds", masked.shape[1]).to(masked.device).gather(1, first)
        part = (drawn * self.count).long()
        return [TeacherPass(masked=masked & (part == k), counts=masked & (part == k)) for k in range(self.count)]


@hookimpl
def tide_teacher_views() -> list[type[Folds]]:
    """Contribute the view."""
    return [Folds]
