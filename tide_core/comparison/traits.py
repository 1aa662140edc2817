"""What each run distilled into what: objective, teacher, tokenizers, attention, size, steps of the sampler."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from tide_core.run_schema import RunConfig
from tide_core.shown_paths import from_here
from tide_specs import Architecture, Role, SequentialTeacherView, TextTokenizer, TideError

from .lines import Cell, Equality, Line, counted, line, same
from .runs import FoundRun, Part

GROUP = "what was distilled"
NONE = Cell(text="no teacher")


def trait_lines(runs: Sequence[FoundRun]) -> list[Line]:
    """Return a line for each trait."""
    makers = {
        "objective": objective,
        "teacher": teacher_name,
        "tokenizers": tokenizers,
        "attention": attention,
        "student's parameters": lambda run: counted(run.last.facts["student"].get("parameters")),
        "teacher's parameters": lambda run: counted(teacher_parameters(run)),
        "size removed": size_removed,
        "sampler steps removed": steps_removed,
    }
    return [line(GROUP, name, {run.label: make(run) for run in runs}) for name, make in makers.items()]


def objective(run: FoundRun) -> Cell:
    """Return the losses, and the teacher's view where it is not the plain one, of each of its runs."""
    told = [_terms(part.config) for part in run.parts]
    if len(set(told)) == 1:
        return Cell(text=told[0] + (f", in {len(told)} runs" if len(told) > 1 else ""))
    return Cell(text="; then ".join(f"{part.name}: {text}" for part, text in zip(run.parts, told, strict=True)))


def _terms(config: RunConfig) -> str:
    losses = [*config.losses, *(loss for lesson in config.teachers for loss in lesson.losses)]
    views = [view.teacher_view.name for view in config.lessons() if view.teacher_view.name != "plain"]
    names = " + ".join(str(loss.name) for loss in losses)
    return f"{names} ({', '.join(dict.fromkeys(map(str, views)))})" if views else names


def taught(run: FoundRun) -> Part | None:
    """Return the first of its runs that had a teacher: what a recipe began with, not what it made on the way."""
    return next((part for part in run.parts if part.config.lessons()), None)


def teachers_of(part: Part) -> list[Architecture]:
    """Return the teachers of one run."""
    return [view.teacher for view in part.config.lessons() if view.teacher is not None]


def teacher_name(run: FoundRun) -> Cell:
    """Return what taught it."""
    part = taught(run)
    return NONE if part is None else Cell(text=", ".join(map(name_of, teachers_of(part))))


def name_of(architecture: Architecture) -> str:
    """Return what a model is called: its files, or what it is made of."""
    files = getattr(architecture, "model", None) or architecture.cache_path
    return from_here(str(files)) if files else f"{architecture.name} without weights"


def identity(architecture: Architecture) -> str:
    """Return a text that is the same for the same model, from wherever the run was started."""
    record = architecture.model_dump(mode="json")
    model = record.get("model")
    if isinstance(model, str) and Path(model).exists():
        record["model"] = str(Path(model).resolve())
    return json.dumps(record, sort_keys=True)


def tokenizers(run: FoundRun) -> Cell:
    """Return whether teacher and student read the same tokens, and by which alignment they meet where they do not."""
    part = taught(run)
    if part is None:
        return NONE
    return Cell(text=", ".join(dict.fromkeys(map(_handling, part.config.lessons()))))


def _handling(view: RunConfig) -> str:
    assert view.teacher is not None
    try:
        ours = _tokenizer(view, view.student, "student").fingerprint()
        theirs = _tokenizer(view, view.teacher, "teacher").fingerprint()
    except (TideError, OSError):
        return f"not to be read any more ({view.alignment.name})"
    return f"{'the same' if ours == theirs else 'different'} ({view.alignment.name})"


def _tokenizer(view: RunConfig, architecture: Architecture, role: Role) -> TextTokenizer:
    return architecture.trusted_tokenizer(role) if view.trust_remote_code else architecture.tokenizer(role)


def attention(run: FoundRun) -> Cell:
    """Return the form of the teacher and of the student."""
    ours, part = _form(run.last.facts["student"]), taught(run)
    if part is None:
        return Cell(text=ours)
    facts = _teacher_facts(part)
    theirs = [_form(one) for one in facts] or [str(one.denoiser_form) for one in teachers_of(part)]
    return Cell(text=f"{', '.join(dict.fromkeys(theirs))} → {ours}")


def _form(facts: Mapping[str, Any]) -> str:
    size = facts.get("block_size")
    return f"{facts.get('form', 'unknown')}{f', blocks of {size}' if size else ''}"


def _teacher_facts(part: Part) -> list[Mapping[str, Any]]:
    one = part.facts.get("teacher")
    return [one] if one else list(part.facts.get("teachers", []))


def teacher_parameters(run: FoundRun) -> int | None:
    """Return the size of the teacher, of the largest one of several; ``None`` where it is not known."""
    part = taught(run)
    sizes = [] if part is None else [one["parameters"] for one in _teacher_facts(part) if one.get("parameters")]
    return max(sizes, default=None)


def size_removed(run: FoundRun) -> Cell | None:
    """Return how many times smaller the student is than its teacher."""
    ours, theirs = run.last.facts["student"].get("parameters"), teacher_parameters(run)
    if not ours or not theirs:
        return None
    return Cell(text=f"{theirs / ours:.2f} times smaller" if theirs != ours else "none", value=theirs / ours)


def steps_removed(run: FoundRun) -> Cell:
    """Return by how much its objective means to cut the steps of a sampler: the product over its runs."""
    factors = [factor for part in run.parts if (factor := _sub_steps(part.config)) > 1]
    if not factors:
        return Cell(text="none", value=1)
    product = f" ({' × '.join(map(str, factors))})" if len(factors) > 1 else ""
    return Cell(text=f"{prod(factors)} times fewer aimed at{product}", value=prod(factors))


def _sub_steps(config: RunConfig) -> int:
    views = (view.teacher_view for view in config.lessons())
    return max((view.sub_steps for view in views if isinstance(view, SequentialTeacherView)), default=1)


def equal_traits(runs: Sequence[FoundRun]) -> Iterator[Equality]:
    """Yield whether teacher, student, data and random numbers are the same."""
    yield same("teacher", {run.label: teacher_name(run).text for run in runs}, _teachers(runs))
    yield same("student's parameters", {run.label: _size(run) for run in runs})
    prints = {run.label: [part.config.data.fingerprint() for part in run.parts] for run in runs}
    names = {run.label: ", ".join(dict.fromkeys(str(part.config.data.name) for part in run.parts)) for run in runs}
    yield same("training data", names, {label: "".join(dict.fromkeys(found)) for label, found in prints.items()})
    yield same("seed of the (first) run", {run.label: str(run.parts[0].config.training.seed) for run in runs})
    yield same("seed of the evaluation", {run.label: str(run.config.training.seed) for run in runs})


def _size(run: FoundRun) -> str:
    found = counted(run.last.facts["student"].get("parameters"))
    return "unknown" if found is None else found.text


def _teachers(runs: Sequence[FoundRun]) -> dict[str, str]:
    parts = {run.label: taught(run) for run in runs}
    return {label: "" if part is None else "\n".join(map(identity, teachers_of(part))) for label, part in parts.items()}
