"""One row while it is written: what stands in its places, and how that reads. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tide_specs import SamplingStep

from .watching import Scene

_BROKEN = re.compile("[\udc80-\udcff]+")


@dataclass
class Cell:
    """A place. ``token`` is ``None`` while it is open, ``text`` while that token is not text (special tokens).

    score: in [0, 1]; step: number of the row's step that wrote it, from 1; revisions: how often it was written over.
    ``given``: stands in the prompt.
    """

    token: int | None = None
    text: str | None = None
    score: float = 0.0
    step: int = 0
    revisions: int = 0
    given: bool = False


def spell(pieces: Sequence[bytes]) -> list[str]:
    """Return the text of each of adjacent tokens; a character belongs to the token in which it begins.

    What is no whole character reads as U+FFFD, so that half a character is repaired once its other half stands beside it.
    """
    owners = [number for number, piece in enumerate(pieces) for _ in piece]
    texts = [""] * len(pieces)
    offset = 0
    for character in b"".join(pieces).decode("utf-8", "surrogateescape"):
        texts[owners[offset]] += character
        offset += 1 if _BROKEN.match(character) else len(character.encode())
    return [_BROKEN.sub(_replaced, text) for text in texts]


def _replaced(broken: re.Match[str]) -> str:
    return broken.group().encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _continues(piece: bytes) -> bool:
    """Whether a token's first byte can only stand inside a character."""
    return not piece or 0x80 <= piece[0] <= 0xBF


class Draft:
    """The places of one row of a scene. ``first``: the first one that is shown; a prompt that is continued is not."""

    def __init__(self, scene: Scene, row: int, pieces: Sequence[bytes | None]) -> None:
        self._pieces, self._mask = pieces, scene.mask_token_id
        self._end_of_turn = scene.tokenizer.end_of_turn_token_id
        ids = scene.ids[row]
        self.cells = [Cell(token=i, given=True) if i != self._mask else Cell() for i in ids]
        self.cells += [Cell() for _ in range(scene.max_new_tokens)]
        self.first = 0 if scene.infill else len(ids)
        self.fresh: frozenset[int] = frozenset()
        self.steps = self.forwards = 0
        self._respell(range(len(ids)))

    def apply(self, step: SamplingStep) -> set[int]:
        """Write a step; return the places whose text it repaired beside those that it wrote."""
        self.steps += 1
        self.forwards = step.forwards
        self.fresh = frozenset(step.positions)
        for position, token, score in zip(step.positions, step.tokens, step.scores, strict=True):
            self._write(self.cells[position], token, score)
        return self._respell(step.positions) - self.fresh

    def end(self) -> int:
        """Return the place of the first end-of-turn token of the answer, or how many places there are."""
        places = range(self.first, len(self.cells))
        found = (place for place in places if not self.cells[place].given and self._ends(self.cells[place]))
        return next(found, len(self.cells))

    def written(self) -> int:
        """Return how many tokens stand in the answer, those after its end left out."""
        return sum(cell.token is not None and not cell.given for cell in self.cells[self.first : self.end()])

    def _ends(self, cell: Cell) -> bool:
        return cell.token == self._end_of_turn

    def _write(self, cell: Cell, token: int, score: float) -> None:
        cell.revisions += cell.token is not None
        cell.token = None if token == self._mask else token
        cell.score, cell.step = score, self.steps

    def _piece(self, place: int) -> bytes | None:
        """The bytes that stand in a place; ``None`` outside the row, where nothing stands, and for a special token."""
        token = self.cells[place].token if 0 <= place < len(self.cells) else None
        return None if token is None or token >= len(self._pieces) else self._pieces[token]

    def _respell(self, positions: Iterable[int]) -> set[int]:
        """Read anew every place whose characters these positions may share; return those whose text changed."""
        changed: set[int] = set()
        seen: set[int] = set()
        for place in sorted({near for position in positions for near in (position - 1, position, position + 1)}):
            if place not in seen and 0 <= place < len(self.cells):
                places = self._characters_at(place)
                seen.update(places)
                changed |= self._read(places)
        return changed

    def _characters_at(self, place: int) -> range:
        """Return the run of places that may share characters with this one."""
        start, stop = place, place + 1
        if self._piece(place) is None:
            return range(start, stop)
        while _continues(self._piece(start) or b"") and self._piece(start - 1) is not None:
            start -= 1
        while (piece := self._piece(stop)) is not None and _continues(piece):
            stop += 1
        return range(start, stop)

    def _read(self, places: range) -> set[int]:
        pieces = [self._piece(place) for place in places]
        known = [piece for piece in pieces if piece is not None]
        texts: list[str | None] = list(spell(known)) if len(known) == len(pieces) else [None] * len(pieces)
        changed = {place for place, text in zip(places, texts, strict=True) if self.cells[place].text != text}
        for place, text in zip(places, texts, strict=True):
            self.cells[place].text = text
        return changed
