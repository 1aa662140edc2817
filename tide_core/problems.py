"""What is wrong with a run, said once: where, what, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tide_specs import ConfigError


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding. ``where``: ``run.yaml:14``; ``field``: ``losses[1].temperature``; ``hints``: lines that help.

    ``code`` names findings that a run file's ``allow`` list can accept; it is empty for those that it cannot.
    """

    where: str
    field: str
    message: str
    hints: tuple[str, ...] = ()
    severity: Literal["error", "warning"] = "error"
    code: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.where, self.field) if part)
        first, *more = self.message.split("\n")
        head = f"{place}: {first}" if place else first
        return "\n".join([head, *(f"    {line}" for line in (*more, *self.hints))])


class RunFileError(ConfigError):
    """Everything that is wrong with a run file, at once; ``problems`` holds the findings."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(str(problem) for problem in self.problems))
