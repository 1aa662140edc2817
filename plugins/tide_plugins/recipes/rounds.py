"""Progressive distillation: round after round, the student becomes the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, PositiveInt

from tide_specs import Recipe, Stage


class Rounds(Recipe):
    """The student of a round is the teacher, and the student, of the next (SDTT: Deschenaux and Gulcehre 2024).

    Round r = 0, 1, ... is the run file with ``counter`` set to r; with the view ``sampler_steps`` the teacher's step grows by
    its number of sub-steps in every round. ``training.steps`` is the length of a round. Name the same model as teacher and as
    student. The published code keeps the optimizer's moments from round to round and lets the raw student teach; here each
    round starts with fresh moments, and with ``training.ema_decay`` the average teaches.
    """

    name: Literal["rounds"] = "rounds"
    rounds: PositiveInt = Field(default=7, description="how many; 7 times 1024 steps of a sampler become 8")
    counter: str | None = Field(
        default="teacher_view.round", description="path of the option that counts the rounds; null: nothing counts them"
    )

    def compose(self) -> Sequence[Stage]:
        """One stage per round."""
        return [self._round(number) for number in range(self.rounds)]

    def _round(self, number: int) -> Stage:
        changes: dict[str, Any] = {} if self.counter is None else {self.counter: number}
        before = f"round_{number}" if number else None
        return Stage(name=f"round_{number + 1}", changes=changes, student=before, teacher=before)
