"""What students and their teachers write in few steps of a sampler, under an independent judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_specs import Architecture, ConfigError, Estimate, Evaluation, Evaluator

from .lines import Cell, Equality, Line, counted, estimated, line, same
from .runs import FoundRun
from .traits import identity, name_of, taught, teachers_of

Announce = Callable[[str], None]
FULL = 0
"""Stands for one token at a time among the numbers of steps."""
ANCESTRAL = {"name": "block", "commit": "first_hitting", "temperature": 1.0}
"""What writes unless the user says otherwise: the sampler whose steps are distilled."""
SHOWN = {
    "judge_bits_per_byte": ("bits per byte under the judge", "lower"),
    "token_entropy": ("entropy of a sample's tokens, bits", ""),
    "distinct_2": ("different pairs of words, share", ""),
    "tokens": ("tokens of a sample", ""),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """How samples are asked for. steps: of the sampler in a block, ascending; sampler: its name and options; limit: prompts."""

    steps: Sequence[int]
    judge: Architecture
    sampler: Mapping[str, Any] = field(default_factory=lambda: ANCESTRAL)
    limit: int = 64
    new_tokens: int = 64
    batch_size: int = 8


@dataclass(kw_only=True)
class Sampled:
    """Lines of the table. teachers: columns beside those of the runs."""

    teachers: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    equal: list[Equality] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A model that writes. config: the run with it as the student, or, of a teacher, as the teacher."""

    column: str
    architecture: Architecture
    config: RunConfig
    teaches: bool


def sample(
    runs: Sequence[FoundRun], request: Request, registry: Registry, announce: Announce = lambda text: None
) -> Sampled:
    """Let every student and every teacher write for the same held-out prompts, and ask the judge.

    Raises ``ConfigError`` when the judge is one of them, and the errors of ``tide_specs.errors`` as models load.
    """
    found = Sampled()
    writers = [*_students(runs), *_teachers(runs, found)]
    _require_independent(request.judge, runs)
    written: dict[tuple[int, str], Evaluation] = {}
    for writer in writers:
        announce(f"{writer.column} writes")
        wanted = _wanted(writer, request, found)
        results = _evaluate(writer, [_evaluator(writer, k, request, registry) for k in wanted], registry)
        _require_samples(results[0], runs[0])
        written.update({(k, writer.column): one for k, one in zip(wanted, results, strict=True)})
    _report(found, written, [run.label for run in runs], request)
    return found


def _students(runs: Sequence[FoundRun]) -> list[Writer]:
    return [
        Writer(
            column=run.label,
            architecture=(student := run.config.student.saved_at(str(run.student))),
            config=_alone(run.config, runs[0].config).model_copy(update={"student": student, "teacher": None}),
            teaches=False,
        )
        for run in runs
    ]


def _alone(config: RunConfig, first: RunConfig) -> RunConfig:
    """All write with the same random numbers, for the same prompts."""
    training = config.training.model_copy(update={"seed": first.training.seed})
    return config.model_copy(update={"training": training, "teachers": (), "recipe": None, "data": first.data})


def _teachers(runs: Sequence[FoundRun], found: Sampled) -> list[Writer]:
    """Return each teacher once, however many runs learned from it."""
    pupils: dict[str, list[str]] = {}
    writers: dict[str, Writer] = {}
    for run in runs:
        part = taught(run)
        for teacher in [] if part is None else teachers_of(part):
            if teacher.cache_path is not None:
                found.notes.append(f"{run.label}: its teacher is a cache of answers, which cannot write.")
                continue
            config = _alone(run.config, runs[0].config).model_copy(update={"teacher": teacher})
            pupils.setdefault(identity(teacher), []).append(run.label)
            writers.setdefault(identity(teacher), Writer(column="", architecture=teacher, config=config, teaches=True))
    named: list[Writer] = []
    for key, one in writers.items():
        column = "the teacher" if len(writers) == 1 else f"teacher of {', '.join(dict.fromkeys(pupils[key]))}"
        taken = sum(other.column.startswith(column) for other in named)
        column = f"{column} ({taken + 1})" if taken else column
        found.teachers.append(column)
        named.append(Writer(column=column, architecture=one.architecture, config=one.config, teaches=True))
    return named


def _require_independent(judge: Architecture, runs: Sequence[FoundRun]) -> None:
    """The judge must be none of the models that it judges, nor one that they were made of."""
    model = getattr(judge, "model", None)
    if not isinstance(model, str):
        return
    for run in runs:
        models = {str(run.student): f"the student of {run.label}"}
        for part in run.parts:
            models |= {name_of(one): f"a teacher of {run.label}" for one in teachers_of(part)}
            models.setdefault(name_of(part.config.student), f"what {run.label} began with")
        for path, what in models.items():
            if _place(path) == _place(model):
                raise ConfigError(
                    f"--judge {model}: is {what}, whose own habits it would find likely; name another model"
                )


def _place(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).exists() else model


def _wanted(writer: Writer, request: Request, found: Sampled) -> list[int]:
    """Return the numbers of steps that a model can be held to, and ``FULL``."""
    if writer.architecture.usual_sampler == ANCESTRAL["name"]:
        return [*request.steps, FULL]
    found.notes.append(
        f"{writer.column}: writes with the sampler '{writer.architecture.usual_sampler}', which cannot be held to a number of "
        "steps; it has one line, 'all steps'."
    )
    return [FULL]


def _evaluator(writer: Writer, steps: int, request: Request, registry: Registry) -> Evaluator:
    sampler: dict[str, Any] = {"name": writer.architecture.usual_sampler}
    if sampler["name"] == ANCESTRAL["name"]:
        sampler = dict(request.sampler)
        if steps != FULL:
            sampler["steps_per_block"] = steps
        if writer.architecture.length_multiple == 1:
            sampler.setdefault("block_length", request.new_tokens)
    options = {
        "name": "generation",
        "judge": request.judge.model_dump(mode="json"),
        "sampler": sampler,
        "limit": request.limit,
        "max_new_tokens": request.new_tokens,
        "batch_size": request.batch_size,
    }
    evaluator: Evaluator = registry.build("evaluator", options)
    return evaluator


def _evaluate(writer: Writer, evaluators: Sequence[Evaluator], registry: Registry) -> list[Evaluation]:
    config = writer.config.model_copy(update={"evaluation": tuple(evaluators)})
    if writer.teaches:
        from tide_core.retention import evaluate_teacher

        return list(evaluate_teacher(config, registry).values())
    from tide_core.checkpoint_evaluation import evaluate_student

    return list(evaluate_student(config, registry).values())


def _require_samples(found: Evaluation, run: FoundRun) -> None:
    if not found.per_example["tokens"]:
        raise ConfigError(
            f"{run.label}: none of the held-out documents that --prompts takes leaves anything to write: each ends within "
            "the beginning that serves as its prompt; take more, or longer ones"
        )


def _report(
    found: Sampled, written: Mapping[tuple[int, str], Evaluation], students: Sequence[str], request: Request
) -> None:
    columns = [*students, *found.teachers]
    for k in [*request.steps, FULL]:
        there = {column: written[k, column] for column in columns if (k, column) in written}
        group = f"samples, {k} step{'s' if k > 1 else ''}" if k != FULL else "samples, all steps"
        for metric, (label, better) in SHOWN.items():
            cells = {column: _cell(one.metrics.get(metric)) for column, one in there.items()}
            found.lines.append(line(group, label, cells, better))
        evaluations = {column: passes(one, request.batch_size) for column, one in there.items()}
        found.lines.append(line(group, "network evaluations (NFE)", {c: counted(n) for c, n in evaluations.items()}))
        spoken = {column: f"{number:,.4g}" for column, number in evaluations.items()}
        found.equal.append(same(f"NFE, {group.removeprefix('samples, ')}", spoken))
    people = {column: written[FULL, column] for column in columns}
    for metric, (label, _) in list(SHOWN.items())[:3]:
        cells = {column: _cell(one.metrics.get(f"reference_{metric}")) for column, one in people.items()}
        found.lines.append(line("what people wrote for the same prompts", label, cells))
    found.notes.append(
        "Text that repeats itself is likely to every judge: read bits per byte beside the entropy, and both beside what people wrote."
    )


def _cell(estimate: Estimate | None) -> Cell | None:
    return None if estimate is None else estimated(estimate)


def passes(found: Evaluation, batch_size: int) -> float:
    """Return the passes that a batch of texts took, on average."""
    texts = len(found.per_example["tokens"])
    return found.metrics["forwards"].value / math.ceil(texts / batch_size) if texts else 0.0
