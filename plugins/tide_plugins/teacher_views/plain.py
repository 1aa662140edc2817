"""The teacher sees what the student sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tide_specs import Draws, Side, TeacherPass, TeacherView

if TYPE_CHECKING:
    from torch import Tensor


class Plain(TeacherView):
    """One pass, in which everything hidden from the student is hidden from the teacher."""

    name: Literal["plain"] = "plain"

    def passes(self, side: Side, masked: Tensor, draws: Draws) -> Sequence[TeacherPass]:
        """Masked positions [B, L] -> one pass that answers them all."""
        return [TeacherPass(masked=masked, counts=masked)]
