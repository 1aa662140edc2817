"""The rules about the two models: their roles, attention, lengths, and noise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tide_specs import Architecture, AttentionBackend

from .problems import Problem

if TYPE_CHECKING:
    import torch

    from .compatibility import Checker

BLOCK_FORMS = frozenset({"block_diffusion", "block_causal"})


def models(checker: Checker) -> Iterator[tuple[str, Architecture]]:
    """The architectures of the run, by role."""
    if checker.config.teacher is not None:
        yield "teacher", checker.config.teacher
    yield "student", checker.config.student


def roles(checker: Checker) -> Iterator[Problem]:
    """Each architecture can play its part."""
    for role, model in models(checker):
        reason = model.serves(role)  # type: ignore[arg-type]
        if reason:
            yield checker.problem((role,), f"'{model.name}' cannot be the {role}: {reason}")
        elif role == "student" and model.denoiser_form == "autoregressive":
            yield checker.problem(
                (role,),
                f"'{model.name}' is autoregressive here, and a student must read noised text",
                "give it a form that does, e.g.  form: bidirectional  or  form: block_diffusion",
            )


def layouts(checker: Checker) -> Iterator[Problem]:
    """The attention backend serves the layouts that the models ask for."""
    backend = checker.config.attention
    for role, model in models(checker):
        missing = sorted(model.attention_needs() - backend.layouts)
        if missing:
            yield checker.problem(
                ("attention",),
                f"'{backend.name}' does not serve the attention that the {role} needs: {', '.join(missing)}",
                f"attention backends that serve the {role}: {_backends_for(checker, model.attention_needs())}",
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
        origin = checker.registry.origin(backend)
        message = f"'{backend.name}' raised {type(error).__name__} when asked whether it is available: {error}"
        yield checker.problem(("attention",), message, f"it comes from {origin}")
        return
    if reason:
        yield checker.problem(("attention",), f"'{backend.name}' cannot be used here: {reason}")


def _device_and_dtype(name: str, precision: str) -> tuple[torch.device, torch.dtype]:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name), torch.bfloat16 if precision == "bf16" else torch.float32


def lengths(checker: Checker) -> Iterator[Problem]:
    """Rows hold whole blocks."""
    data = checker.config.data
    for role, model in models(checker):
        option = "max_length" if role == "student" else "teacher_max_length"
        length = data.max_length if role == "student" else data.teacher_max_length or 2 * data.max_length
        multiple = model.length_multiple
        if length % multiple:
            below, above = length // multiple * multiple, -(-length // multiple) * multiple
            nearest = f"{below} or {above}" if below else str(above)
            yield checker.problem(
                ("data", option),
                f"{length} is no multiple of the {role}'s block of {multiple} tokens; use {nearest}",
            )


def times(checker: Checker) -> Iterator[Problem]:
    """One time per block needs blocks."""
    student = checker.config.student
    if checker.config.timesteps.per == "block" and student.denoiser_form not in BLOCK_FORMS:
        yield checker.problem(
            ("timesteps", "per"),
            f"one time per block needs a student with blocks, but '{student.name}' is {student.denoiser_form} here",
            "use  per: sequence, or a student of form block_diffusion",
        )


MODEL_RULES: tuple[Callable[[Checker], Iterator[Problem]], ...] = (roles, layouts, device, lengths, times)
