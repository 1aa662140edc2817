"""Who looks on while a sampler writes: what they are told, and how a sampler's word is checked. Imports no torch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tide_specs import PluginError, Sampler, SamplingStep, TextTokenizer, Watch


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is known before the first step.

    ``ids``: the encoded prompts, each of which may grow by ``max_new_tokens``; with ``infill`` the encoded texts, which
    have mask tokens where something is to be written, and grow by none.
    """

    prompts: Sequence[str]
    ids: Sequence[Sequence[int]]
    max_new_tokens: int
    mask_token_id: int | None
    tokenizer: TextTokenizer
    infill: bool = False

    def length(self, row: int) -> int:
        """Return the places of a row, prompt and answer."""
        return len(self.ids[row]) + self.max_new_tokens


class Spectator(Protocol):
    """Told of the scene once, then of every step of every row."""

    def begin(self, scene: Scene) -> None:
        """The model is loaded; nothing is written yet."""
        ...

    def step(self, step: SamplingStep) -> None:
        """One row has changed."""
        ...


def takes_watch(method: Callable[..., object]) -> bool:
    """Whether a sampler's method has the argument ``watch``; in a sampler of an earlier contract it has not."""
    parameters = inspect.signature(method).parameters
    return "watch" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def watch_for(spectators: Sequence[Spectator], scene: Scene, sampler: Sampler) -> Watch:
    """Return what the sampler calls. A step that the contract does not allow raises ``PluginError``."""

    def watch(step: SamplingStep) -> None:
        plain = _plain(step)
        fault = _fault(plain, scene)
        if fault is not None:
            raise PluginError(f"sampler '{sampler.name}' told of a step that cannot be: {fault}")
        for spectator in spectators:
            spectator.step(plain)

    return watch


def _plain(step: SamplingStep) -> SamplingStep:
    """Plain numbers, whatever the sampler handed over; a score that is not finite counts as 0."""
    scores = [float(score) for score in step.scores]
    return SamplingStep(
        row=int(step.row),
        positions=[int(position) for position in step.positions],
        tokens=[int(token) for token in step.tokens],
        scores=[score if math.isfinite(score) else 0.0 for score in scores],
        forwards=int(step.forwards),
    )


def _fault(step: SamplingStep, scene: Scene) -> str | None:
    if not 0 <= step.row < len(scene.ids):
        return f"row {step.row} of {len(scene.ids)}"
    if not len(step.positions) == len(step.tokens) == len(step.scores):
        counts = f"{len(step.positions)} positions, {len(step.tokens)} tokens, {len(step.scores)} scores"
        return f"{counts}; they must be as many"
    for position, token in zip(step.positions, step.tokens, strict=True):
        if not 0 <= position < scene.length(step.row):
            return f"position {position} of {scene.length(step.row)}"
        if token < 0:
            return f"token {token}"
    return None
