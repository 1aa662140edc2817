"""Recipes: several runs after one another, in which what one trained is what another starts from or learns from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .component import Component


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One run of a recipe: the run file with a few changes.

    name: lower-case letters, digits, underscores; the run's folder. changes: path as in ``--set`` -> value, applied in
    their order. student, teacher: name of an earlier stage whose trained student this stage goes on training, or learns
    from; ``None``: the model that the run file names.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=lambda: {})
    student: str | None = None
    teacher: str | None = None


class Recipe(Component):
    """Kind ``recipe``. The core runs the stages in their order, each as a run of its own, and keeps the last one's student.

    Every stage starts with a fresh optimizer, and, unless its changes name a seed, with one of its own.
    """

    kind: ClassVar[str] = "recipe"

    @abstractmethod
    def compose(self) -> Sequence[Stage]:
        """Return the stages, at least one. Asked before anything loads, and again when a run resumes: no state, no clock."""
        raise NotImplementedError
