"""Teacher views: what the teacher gets to see of the masked text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from .architecture import Architecture
from .batch import Draws, Side, TeacherPass
from .component import Component, Mix
from .corruption import Corruption
from .schedule import NoiseSchedule

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


class SequentialTeacherView(TeacherView):
    """A view in which the teacher answers in sub-steps, each of which sees what it wrote itself in those before.

    A position that a sub-step reveals keeps the teacher's answer of that sub-step, and a token drawn from it stands there
    from then on; positions that no sub-step reveals keep the answer of the last. What is revealed may depend on the mask and
    on t, not on what the teacher says, so that the device is never asked a question.
    """

    sub_steps: PositiveInt = Field(default=2, description="forward passes of the teacher, one after another")

    def passes(self, side: Side, masked: Tensor, draws: Draws) -> Sequence[TeacherPass]:
        """Return the first sub-step: one pass, in which everything that is hidden from the student is hidden."""
        return [TeacherPass(masked=masked, counts=masked)]

    @abstractmethod
    def reveal(self, step: int, side: Side, masked: Tensor, t: Tensor, schedule: NoiseSchedule, draws: Draws) -> Tensor:
        """Return which of the positions that are still masked [B, L] bool sub-step ``step`` (0, 1, ...) reveals.

        t [B, L] float64: the time of each token of ``side``. A chunk is revealed whole or not at all. Not asked for the
        last sub-step, after which nothing is read.
        """
        raise NotImplementedError

    def conflicts(self, mix: Mix) -> Iterable[str]:
        """Refuse teachers and corruptions without masked positions that could be revealed."""
        teacher = mix.roles.get("teacher")
        if isinstance(teacher, Architecture) and teacher.denoiser_form == "autoregressive":
            yield (
                f"'{self.name}' shows the teacher what it wrote at masked positions, and an autoregressive teacher reads the "
                "clean text instead; use teacher_view: plain"
            )
        for corruption in mix.of("corruption"):
            if isinstance(corruption, Corruption) and not corruption.needs_mask_token():
                yield (
                    f"'{self.name}' reveals masked positions, and corruption '{corruption.name}' masks none; use a corruption "
                    "that does (absorbing), or teacher_view: plain"
                )
