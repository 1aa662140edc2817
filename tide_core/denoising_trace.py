"""How texts came about, step by step: recorded while a sampler writes, and played by one HTML page. Imports no torch.

A page is the template ``denoising_trace.html`` with the record in it as JSON; it fetches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tide_specs import SamplingStep

from .draft import Draft
from .html_pages import filled
from .watching import Scene


class Recorder:
    """A spectator that keeps every step."""

    def __init__(self) -> None:
        self._scene: Scene | None = None
        self._steps: list[list[SamplingStep]] = []

    def begin(self, scene: Scene) -> None:
        """Start anew."""
        self._scene = scene
        self._steps = [[] for _ in scene.ids]

    def step(self, step: SamplingStep) -> None:
        """Keep a step."""
        self._steps[step.row].append(step)

    @property
    def silent(self) -> bool:
        """Whether the sampler told of nothing."""
        return not any(self._steps)

    def special(self) -> dict[str, int | None]:
        """Return the ids of the tokens that a page must know: ``mask`` and ``end_of_turn``."""
        if self._scene is None:
            return {"mask": None, "end_of_turn": None}
        return {"mask": self._scene.mask_token_id, "end_of_turn": self._scene.tokenizer.end_of_turn_token_id}

    def rows(self) -> list[dict[str, Any]]:
        """Return what each row looked like at first, and its steps; see ``_row``."""
        if self._scene is None:
            return []
        pieces = self._scene.tokenizer.token_bytes()
        return [_row(self._scene, number, steps, pieces) for number, steps in enumerate(self._steps)]


def _row(scene: Scene, number: int, steps: Sequence[SamplingStep], pieces: Sequence[bytes | None]) -> dict[str, Any]:
    """Return ``first`` and ``places`` (the first place that is shown, and how many there are), ``given`` and ``steps``.

    given: the texts that stand there to begin with, by their place.
    """
    draft = Draft(scene, number, pieces)
    later = enumerate(draft.cells[draft.first :], draft.first)
    return {
        "first": draft.first,
        "places": len(draft.cells),
        "given": {str(place): cell.text or "" for place, cell in later if cell.given},
        "steps": [_step(draft, step) for step in steps],
    }


def _step(draft: Draft, step: SamplingStep) -> dict[str, Any]:
    """Return a step as JSON has it.

    ``texts``: how the tokens read beside their neighbours (``None``: no text, such as the end of the turn); ``repaired``:
    other places, and how they read from now on, since a character has become whole or broken.
    """
    repaired = draft.apply(step)
    return {
        "forwards": step.forwards,
        "positions": list(step.positions),
        "tokens": list(step.tokens),
        "scores": [round(score, 4) for score in step.scores],
        "texts": [draft.cells[position].text for position in step.positions],
        "repaired": [[position, draft.cells[position].text] for position in sorted(repaired)],
    }


def page(trace: Mapping[str, Any]) -> str:
    """Return the page that plays a trace."""
    return filled("denoising_trace.html", trace)
