"""Teacher views: what the teacher gets to see of the masked text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from .batch import Draws, Side, TeacherPass
from .component import Component

if TYPE_CHECKING:
    from torch import Tensor


class TeacherView(Component):
    """Kind ``teacher_view``. The passes' ``counts`` are disjoint and together cover ``masked``."""

    kind: ClassVar[str] = "teacher_view"

    @abstractmethod
    def passes(self, side: Side, masked: Tensor, draws: Draws) -> Sequence[TeacherPass]:
        """Split the masked positions [B, L] of the teacher's side into the passes that the teacher makes.

        A chunk is never split: its tokens are answered in one pass.
        """
        raise NotImplementedError
