"""Stages that the user lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tide_specs import Recipe, Stage


class Link(BaseModel):
    """One stage of a chain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", description="the stage's folder")
    changes: dict[str, Any] = Field(default={}, description="path as in --set -> value, applied in this order")
    student: str | None = Field(default=None, description="earlier stage whose student goes on; null: the run file's")
    teacher: str | None = Field(default=None, description="earlier stage whose student teaches; null: the run file's")


class Chain(Recipe):
    """The stages listed: the run file with the changes of each, models passed on as told.

    Distil across architectures first and cut sampler steps then, or cut the teacher's steps first and let the result teach.
    """

    name: Literal["chain"] = "chain"
    stages: tuple[Link, ...] = Field(min_length=1, description="the stages, in their order")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        known: list[str] = []
        for link in self.stages:
            if link.name in known:
                raise ValueError(f"two stages are called '{link.name}'")
            for role, source in (("student", link.student), ("teacher", link.teacher)):
                if source is not None and source not in known:
                    raise ValueError(
                        f"stage '{link.name}' takes its {role} from '{source}', which is no earlier stage "
                        f"(earlier: {', '.join(known) or 'none'})"
                    )
            known.append(link.name)
        return self

    def compose(self) -> Sequence[Stage]:
        """What the run file lists."""
        return [
            Stage(name=link.name, changes=link.changes, student=link.student, teacher=link.teacher)
            for link in self.stages
        ]
