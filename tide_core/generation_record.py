"""What is said of a generation: the JSON record, and the facts beside a trace. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .denoising_trace import Recorder
from .prompting import Prompting

if TYPE_CHECKING:
    from tide_specs import Component

    from .generation import Generation


def record(
    generation: Generation, architecture: Component, sampler: Component, seed: int, recorder: Recorder | None = None
) -> dict[str, Any]:
    """Return a generation as JSON has it; with a recorder, each text has its steps."""
    written = [asdict(one) for one in generation.written]
    if recorder is not None:
        written = [{**one, **row} for one, row in zip(written, recorder.rows(), strict=True)]
    return {
        "architecture": architecture.model_dump(mode="json"),
        "sampler": sampler.model_dump(mode="json"),
        "seed": seed,
        "forwards": generation.forwards,
        "positions": generation.positions or None,
        "tokens": generation.tokens,
        "tokens_per_forward": generation.tokens_per_forward,
        "seconds": generation.seconds,
        "written": written,
    }


def trace(
    generation: Generation,
    architecture: Component,
    sampler: Component,
    seed: int,
    recorder: Recorder,
    prompting: Prompting,
) -> dict[str, Any]:
    """Return what a trace page shows: facts as pairs of words and values, and the rows."""
    whole = record(generation, architecture, sampler, seed, recorder)
    return {
        "facts": [[word, str(value)] for word, value in _facts(generation, whole).items() if value not in (None, "")],
        "chat": prompting.chat,
        "system": prompting.system,
        "silent": recorder.silent,
        "special": recorder.special(),
        "rows": whole["written"],
    }


def _facts(generation: Generation, whole: Mapping[str, Any]) -> dict[str, Any]:
    model, sampler = generation.model, whole["sampler"]
    together = " (all prompts)" if len(generation.written) > 1 else ""
    parameters = model.get("parameters")
    return {
        "Model": whole["architecture"].get("model") or whole["architecture"]["name"],
        "Family": model.get("family"),
        "Form": model.get("form") or whole["architecture"].get("form"),
        "Parameters": f"{parameters:,}" if isinstance(parameters, int) else None,
        "Sampler": ", ".join([sampler["name"], *_options(sampler)]),
        "Seed": whole["seed"],
        "Forward passes (NFE)": whole["forwards"],
        "Positions computed": whole["positions"],
        f"Tokens{together}": whole["tokens"],
        f"Tokens per forward{together}": f"{whole['tokens_per_forward']:.2f}",
        "Seconds": f"{whole['seconds']:.2f}",
    }


def _options(sampler: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in sampler.items() if name != "name" and value is not None]
