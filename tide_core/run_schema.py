"""The run file as a pydantic model. ``RunConfig`` names the sections; ``build_run_model`` fills in the known components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Optional

from pydantic import Field, create_model

from tide_specs import (
    Alignment,
    Architecture,
    AttentionBackend,
    Component,
    Corruption,
    Dataset,
    Evaluator,
    Interpolation,
    Loss,
    NoiseSchedule,
    Observer,
    Recipe,
    Sampler,
    TeacherView,
    TeacherWeighting,
)

from .registry import Registry
from .settings import Settings, Timesteps, Training
from .yaml_source import Place

COMPONENT_FIELDS = {
    "teacher": "architecture",
    "student": "architecture",
    "attention": "attention",
    "alignment": "alignment",
    "schedule": "schedule",
    "corruption": "corruption",
    "interpolation": "interpolation",
    "teacher_view": "teacher_view",
    "weighting": "weighting",
    "losses": "loss",
    "data": "dataset",
    "evaluation": "evaluator",
    "sampler": "sampler",
    "observers": "observer",
    "recipe": "recipe",
}
"""Field of a run -> kind of the component, or of the components, that it holds."""
LISTS = frozenset({"losses", "evaluation", "observers"})
OPTIONAL = frozenset({"teacher", "sampler", "recipe"})
CACHED = "cached"
"""Name of the architecture of a teacher whose answers were written down."""
SHORTHANDS = {"architecture": ("cache", CACHED)}
"""Kind -> (option, name): a mapping without ``name`` that has the option means the component of that name."""
LESSON_FIELDS = ("teacher", "alignment", "interpolation", "teacher_view", "weighting", "losses")
"""Sections that each entry of ``teachers`` has for itself."""


def _default(value: Any, description: str) -> Any:
    """A default that is written like a run file's value and validated like one."""
    return Field(default=value, validate_default=True, description=description)


class Lesson(Settings):
    """One of several teachers: who it is, how it is aligned with the student and compared, and how much it is listened to."""

    teacher: Architecture = Field(description="the frozen teacher")
    alignment: Alignment = _default("byte_chunks", "which tokens of its and the student's text speak of the same text")
    interpolation: Interpolation = _default("dual_axis", "how much interpolated targets lean on this teacher")
    teacher_view: TeacherView = _default("plain", "what this teacher sees of the masked text")
    weighting: TeacherWeighting = _default("constant", "how much this teacher is listened to")
    losses: tuple[Loss, ...] = Field(description="the terms that compare the student with this teacher")


class RunConfig(Settings):
    """A run: who teaches whom, on what, how it is compared, and where the results go."""

    teacher: Architecture | None = Field(default=None, description="the frozen teacher; null: train without one")
    teachers: tuple[Lesson, ...] = Field(
        default=(), description="several frozen teachers instead of one, each with its own alignment, losses and weight"
    )
    student: Architecture = Field(description="the model that is trained")
    attention: AttentionBackend = _default("sdpa", "how attention is computed, in both models")
    alignment: Alignment = _default(
        "byte_chunks", "which tokens of the two tokenizations speak of the same text; unused without a teacher"
    )
    schedule: NoiseSchedule = _default("linear", "how many tokens stay clean at time t")
    corruption: Corruption = _default("absorbing", "how clean tokens become noised ones")
    interpolation: Interpolation = _default("dual_axis", "how much interpolated targets lean on the teacher")
    teacher_view: TeacherView = _default("plain", "what the teacher sees of the masked text")
    weighting: TeacherWeighting = _default("constant", "how much the teacher is listened to")
    losses: tuple[Loss, ...] = _default(
        ["cross_entropy"], "the terms of the total loss; their weighted sum is minimised"
    )
    data: Dataset = Field(description="where the examples come from")
    timesteps: Timesteps = Field(default=Timesteps(), description="how the times of a batch are drawn")
    training: Training = Field(default=Training(), description="the loop: steps, optimizer, precision, checkpoints")
    evaluation: tuple[Evaluator, ...] = _default([], "what is measured on held-out examples")
    sampler: Sampler | None = _default(None, "how the student writes text, where an evaluator or a report needs some")
    observers: tuple[Observer, ...] = _default(
        ["progress", "mlflow"], "who is told of the run's progress; a JSON-lines log is always written besides"
    )
    recipe: Recipe | None = _default(None, "several runs after one another instead of this one, each with changes")
    output: str = Field(
        default="", description="the run's folder, from the current directory; default: runs/<name of the run file>"
    )
    allow: tuple[str, ...] = Field(default=(), description="codes of objections to this mix that you accept")
    trust_remote_code: bool = Field(
        default=False, description="run code that comes with a model; off unless you need it"
    )

    def lessons(self) -> tuple[RunConfig, ...]:
        """Return this run as each of its teachers sees it: a run with one teacher, the losses of the student and its own."""
        if not self.teachers:
            return () if self.teacher is None else (self,)
        return tuple(self._with(lesson) for lesson in self.teachers)

    def _with(self, lesson: Lesson) -> RunConfig:
        own = {name: getattr(lesson, name) for name in LESSON_FIELDS}
        own["losses"] = (*(loss for loss in self.losses if loss.compares == "student"), *lesson.losses)
        return self.model_copy(update={**own, "teachers": ()})

    def components(self) -> Iterator[tuple[Place, Component]]:
        """Yield every component that the run names, with its place in the run file."""
        for field in COMPONENT_FIELDS:
            yield from _placed((field,), getattr(self, field))
        for number, lesson in enumerate(self.teachers):
            for field in LESSON_FIELDS:
                yield from _placed(("teachers", number, field), getattr(lesson, field))


def _placed(place: Place, value: Any) -> Iterator[tuple[Place, Component]]:
    if isinstance(value, tuple):
        yield from (((*place, index), item) for index, item in enumerate(value))
    elif value is not None:
        yield place, value


@lru_cache(maxsize=4)  # one class per registry, so that equal runs are equal
def build_run_model(registry: Registry) -> type[RunConfig]:
    """Return ``RunConfig`` whose fields accept the components of ``registry``, by name or as a mapping with ``name``."""
    lesson = create_model("Lesson", __base__=Lesson, __doc__=Lesson.__doc__, **_fields(Lesson, LESSON_FIELDS, registry))
    info = RunConfig.model_fields["teachers"]
    fields = _fields(RunConfig, COMPONENT_FIELDS, registry)
    fields["teachers"] = (tuple[lesson, ...], Field(default=(), description=info.description))
    return create_model("RunConfig", __base__=RunConfig, __doc__=RunConfig.__doc__, **fields)


def _fields(model: type[Settings], names: Mapping[str, str] | tuple[str, ...], registry: Registry) -> dict[str, Any]:
    """Component sections of ``model``, typed by what the registry knows."""
    fields: dict[str, Any] = {}
    for field in names:
        annotation = registry.annotation(COMPONENT_FIELDS[field])
        info = model.model_fields[field]
        if field in LISTS:
            annotation = tuple[annotation, ...]
        elif field in OPTIONAL and not info.is_required():
            annotation = Optional[annotation]  # noqa: UP045 - Annotated types have no "|" at run time
        length: dict[str, Any] = {"min_length": 1} if field == "losses" else {}
        given: dict[str, Any] = {} if info.is_required() else {"default": info.default, "validate_default": True}
        fields[field] = (annotation, Field(description=info.description, **given, **length))
    return fields


def section_defaults() -> dict[str, Any]:
    """Return what the component sections hold when a run file leaves them out, as a run file would write it."""
    fields = RunConfig.model_fields
    return {name: fields[name].default for name in COMPONENT_FIELDS if isinstance(fields[name].default, str | list)}
