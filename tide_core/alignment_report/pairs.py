"""Which two models a report is about, from what a user named and from a run file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tide_specs import Alignment, Architecture, ConfigError, Role, TideError

from ..registry import Registry
from ..yaml_source import parse_value
from .sides import Side, named_side, side_of

if TYPE_CHECKING:
    from ..config import LoadedRun
    from ..run_schema import RunConfig
    from .teachers import Teacher

ALIGNMENT = "byte_chunks"
"""What is reported where neither a run nor ``--alignment`` says otherwise; takes any two tokenizers."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for, by the options of ``tide align report``.

    teacher_tokenizer, teacher: names, of which one at most; with_teacher: let the run's teacher read; teacher_number: which
    of several, from 1.
    """

    loaded: LoadedRun | None = None
    student: str | None = None
    teacher_tokenizer: str | None = None
    teacher: str | None = None
    with_teacher: bool = False
    teacher_number: int | None = None
    alignment: str | None = None
    trust_remote_code: bool = False

    @property
    def trusted(self) -> bool:
        """Whether code that comes with a model may run."""
        return self.trust_remote_code or (self.loaded is not None and self.loaded.config.trust_remote_code)

    @cached_property
    def run(self) -> RunConfig | None:
        """The run, as the teacher that was chosen sees it. Raises ``ConfigError`` where one must be chosen."""
        if self.loaded is None:
            return None
        lessons, number = self.loaded.config.lessons(), self.teacher_number
        if number is None:
            if len(lessons) > 1 and self.teacher_tokenizer is None and self.teacher is None:
                raise ConfigError(f"{self._file}: the run has {len(lessons)} teachers; choose {_choices(lessons)}")
            return lessons[0] if len(lessons) == 1 else self.loaded.config
        if number > len(lessons):
            there = (
                f"{len(lessons)} teachers; choose {_choices(lessons)}"
                if lessons
                else "no teacher; leave the option out"
            )
            raise ConfigError(f"--teacher-number {number}: the run has {there}")
        return lessons[number - 1]

    @property
    def _file(self) -> str:
        return "the run" if self.loaded is None else self.loaded.source.file

    def located(self) -> AbstractContextManager[None]:
        """Put the place in the run file before the message of an error that one of the run's components raised."""
        return nullcontext() if self.loaded is None else self.loaded.located()

    def sides(self, registry: Registry) -> tuple[Side, Side]:
        """Return student and teacher."""
        return self._student(registry), self._teacher(registry)

    def _student(self, registry: Registry) -> Side:
        if self.run is None or self.student is not None:
            return self._named(str(self.student), "--student", "student", registry)
        return self._of_run(self.run.student, "student", registry)

    def _teacher(self, registry: Registry) -> Side:
        if self.teacher is not None:
            return self._side_of_model(self.teacher, registry)
        if self.run is None or self.teacher_tokenizer is not None:
            return self._named(str(self.teacher_tokenizer), "--teacher-tokenizer", "teacher", registry)
        return self._of_run(self._own_teacher(self.run), "teacher", registry)

    def _side_of_model(self, model: str, registry: Registry) -> Side:
        from .teachers import named_teacher

        architecture = named_teacher(model, registry)
        try:
            return side_of(architecture, "teacher", registry, trust_remote_code=self.trusted)
        except TideError as error:
            error.args = (f"--teacher {model}: {error}",)
            raise

    def _own_teacher(self, run: RunConfig) -> Architecture:
        if run.teacher is None:
            remedy = "one with --teacher MODEL" if self.with_teacher else "its tokenizer with --teacher-tokenizer"
            raise ConfigError(f"{self._file}: the run has no teacher; name {remedy}")
        return run.teacher

    def _named(self, source: str, option: str, role: Role, registry: Registry) -> Side:
        return named_side(source, option, role, registry, trust_remote_code=self.trusted)

    def _of_run(self, architecture: Architecture, role: Role, registry: Registry) -> Side:
        with self.located():
            return side_of(architecture, role, registry, trust_remote_code=self.trusted)

    def chosen_alignment(self, registry: Registry) -> Alignment:
        """Return the alignment: the one named, or the run's."""
        if self.alignment is not None:
            return registry.build("alignment", parse_value(self.alignment))
        return registry.build("alignment", ALIGNMENT) if self.run is None else self.run.alignment

    def reader(self, registry: Registry, *, device: str, masking: float, seed: int) -> Teacher | None:
        """Return the teacher that is to read the texts, not yet loaded; ``None`` where none is asked for."""
        from .teachers import Teacher, named_teacher

        if self.teacher is not None:
            source, architecture = self.teacher, named_teacher(self.teacher, registry)
        elif self.with_teacher and self.run is not None:
            architecture = self._own_teacher(self.run)
            source = str(getattr(architecture, "model", None) or architecture.name)
        else:
            return None
        return Teacher(
            source=source,
            architecture=architecture,
            attention=registry.build("attention", "sdpa") if self.run is None else self.run.attention,
            device=device,
            masking=masking,
            seed=seed,
            trust_remote_code=self.trusted,
        )


def _choices(lessons: Sequence[RunConfig]) -> str:
    """``one with --teacher-number: 1 (./a), 2 (./b)``."""
    named = [str(getattr(run.teacher, "model", None) or getattr(run.teacher, "name", "")) for run in lessons]
    return "one with --teacher-number: " + ", ".join(f"{number} ({name})" for number, name in enumerate(named, 1))
