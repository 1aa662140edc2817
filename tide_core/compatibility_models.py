"""The rules about the two models: their roles, attention, lengths, and noise."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tide_specs import Architecture, AttentionBackend, Role, TideError

from .problems import Problem

if TYPE_CHECKING:
    import torch

    from .compatibility import Checker

BLOCK_FORMS = frozenset({"block_diffusion", "block_causal"})


@dataclass(frozen=True)
class ModelFacts:
    """What an architecture says of itself in one role, asked once."""

    role: Role
    model: Architecture
    refusal: str | None
    form: str
    multiple: int
    layouts: frozenset[str]


def model_problems(checker: Checker) -> Iterator[Problem]:
    """Run every rule about the two models."""
    known: list[ModelFacts] = []
    roles: tuple[Role, ...] = ("teacher", "student")
    for role in roles:
        model = getattr(checker.config, role)
        if model is None:
            continue
        try:
            known.append(_facts(role, model))
        except TideError as error:
            yield checker.problem((role,), str(error))
        except Exception as error:
            yield checker.failed((role,), model, "when asked about this run", error)
    for rule in (playing, layouts, lengths, times):
        yield from rule(checker, known)
    yield from device(checker)


def _facts(role: Role, model: Architecture) -> ModelFacts:
    return ModelFacts(
        role, model, model.serves(role), model.denoiser_form, model.length_multiple, model.attention_needs()
    )


def playing(checker: Checker, known: Sequence[ModelFacts]) -> Iterator[Problem]:
    """Each architecture can play its part."""
    for one in known:
        if one.refusal:
            yield checker.problem((one.role,), f"'{one.model.name}' cannot be the {one.role}: {one.refusal}")
        elif one.role == "student" and one.form == "autoregressive":
            yield checker.problem(
                (one.role,),
                f"'{one.model.name}' is autoregressive here, and a student must read noised text",
                "give it a form that does, e.g.  form: bidirectional  or  form: block_diffusion",
            )


def layouts(checker: Checker, known: Sequence[ModelFacts]) -> Iterator[Problem]:
    """The attention backend serves the layouts that the models ask for."""
    backend = checker.config.attention
    for one in known:
        missing = sorted(one.layouts - backend.layouts)
        if missing:
            yield checker.problem(
                ("attention",),
                f"'{backend.name}' does not serve the attention that the {one.role} needs: {', '.join(missing)}",
                f"attention backends that serve the {one.role}: {_backends_for(checker, one.layouts)}",
            )


def _backends_for(checker: Checker, needed: frozenset[str]) -> str:
    return checker.named("attention", lambda cls: needed <= getattr(cls, "layouts", frozenset()))


def device(checker: Checker) -> Iterator[Problem]:
    """The attention backend works on the run's device, as far as that is known without loading torch for it."""
    backend, training = checker.config.attention, checker.config.training
    asks = type(backend).available is not AttentionBackend.available
    if not asks or checker.registry.unavailable(type(backend)):
        return
    if training.device == "auto" and "torch" not in sys.modules:
        return
    try:
        reason = backend.available(*_device_and_dtype(training.device, training.precision))
    except Exception as error:
        yield checker.failed(("attention",), backend, "when asked whether it is available", error)
        return
    if reason:
        yield checker.problem(("attention",), f"'{backend.name}' cannot be used here: {reason}")


def _device_and_dtype(name: str, precision: str) -> tuple[torch.device, torch.dtype]:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name), torch.bfloat16 if precision == "bf16" else torch.float32


def lengths(checker: Checker, known: Sequence[ModelFacts]) -> Iterator[Problem]:
    """Rows hold whole blocks."""
    data = checker.config.data
    for one in known:
        student = one.role == "student"
        option = "max_length" if student else "teacher_max_length"
        length = data.max_length if student else data.teacher_max_length or 2 * data.max_length
        if length % one.multiple:
            below = length // one.multiple * one.multiple
            nearest = f"{below} or {below + one.multiple}" if below else str(one.multiple)
            yield checker.problem(
                ("data", option),
                f"{length} is no multiple of the {one.role}'s block of {one.multiple} tokens; use {nearest}",
            )


def times(checker: Checker, known: Sequence[ModelFacts]) -> Iterator[Problem]:
    """One time per block needs blocks."""
    if checker.config.timesteps.per != "block":
        return
    for one in known:
        if one.role == "student" and one.form not in BLOCK_FORMS:
            yield checker.problem(
                ("timesteps", "per"),
                f"one time per block needs a student with blocks, but '{one.model.name}' is {one.form} here",
                "use  per: sequence, or a student of form block_diffusion",
            )
