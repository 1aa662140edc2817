"""The sequences being written.

Shapes: B rows still being written, T positions (text, and what fills the last block), W positions of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .inputs import Texts


@dataclass(frozen=True, kw_only=True)
class View:
    """The windows of a board, [B, W] each.

    places: positions; masked: still to be written; answer: not given; part: belongs to the first unfinished part.
    """

    places: Tensor
    masked: Tensor
    answer: Tensor
    part: Tensor


class Board:
    """Texts with mask tokens, and a window per row that moves over them, a block at a time.

    ids [B, T]; answer [B, T]: positions that are not given; masked [B, T]: those still to be written; first [B]: tokens
    before the answer; steps [B]: steps taken in the current part; notes: what policies remember of positions, [B, T].
    On the host: rows: the number of each row among the texts; starts, limits: begin of its window, end of its text.
    """

    def __init__(
        self,
        texts: Texts,
        rows: Sequence[int],
        starts: Sequence[int],
        *,
        width: int,
        part: int,
        end_of_turn: int,
        device: torch.device,
    ) -> None:
        self.width, self.part, self.mask, self.end_of_turn = width, part, texts.mask, end_of_turn
        self.ends = texts.ends
        self.rows, self.starts = list(rows), list(starts)
        self.limits = [len(texts.ids[row]) for row in rows]
        size = max(start + -(-(end - start) // width) * width for start, end in zip(starts, self.limits, strict=True))
        ids = torch.full((len(rows), size), texts.mask)
        for place, row in enumerate(rows):
            ids[place, : self.limits[place]] = torch.tensor(texts.ids[row], dtype=torch.int64)
        self.ids = ids.to(device)
        self._index = torch.arange(size, device=device)
        self.limit = torch.tensor(self.limits, device=device)
        self.start = torch.tensor(self.starts, device=device)
        self.first = torch.tensor([texts.prompts[row] for row in rows], device=device)
        self.answer = (self.ids == texts.mask) & (self._index < self.limit[:, None])
        self.masked = self.answer
        self.steps = torch.zeros_like(self.start)
        self.notes: dict[str, Tensor] = {}

    def view(self) -> View:
        """Return the windows as they are."""
        places = self.start[:, None] + self._index[: self.width]
        masked = self.masked.gather(1, places)
        unfinished = masked.unflatten(1, (-1, self.part)).any(dim=2)
        current = unfinished.int().argmax(dim=1)
        part = self._index[: self.width] // self.part == current[:, None]
        return View(places=places, masked=masked, answer=self.answer.gather(1, places), part=part)

    def at(self, values: Tensor, view: View) -> Tensor:
        """Return values [B, T] at the windows: [B, W]."""
        return values.gather(1, view.places)

    def write(self, view: View, chosen: Tensor, tokens: Tensor, taken: Tensor | None = None) -> None:
        """Write tokens [B, W] at the chosen positions [B, W]; put the mask token back where one is taken."""
        ids = torch.where(chosen, tokens, self.at(self.ids, view))
        masked = view.masked & ~chosen
        if taken is not None:
            ids, masked = ids.masked_fill(taken, self.mask), masked | taken
        self.ids = self.ids.scatter(1, view.places, ids)
        self.masked = self.masked.scatter(1, view.places, masked)
        unfinished = (masked & view.part).any(dim=1)
        self.steps = torch.where(unfinished, self.steps + 1, 0)

    def note(self, name: str, view: View, chosen: Tensor, values: Tensor) -> None:
        """Remember values [B, W] of the chosen positions."""
        held = self.notes[name]
        self.notes[name] = held.scatter(1, view.places, torch.where(chosen, values, self.at(held, view)))

    def finished(self, view: View, *, settled: bool) -> Tensor:
        """Return which rows [B] are complete: nothing is masked, or nothing before a first end-of-turn token.

        settled: tokens of an unfinished part do not count yet, since they may be taken back.
        """
        complete = ~self.masked.any(dim=1)
        if not self.ends:
            return complete
        ends = (self.ids == self.end_of_turn) & self.answer & ~self.masked
        ended = (ends & (self.masked.cumsum(dim=1) == 0)).any(dim=1)
        return complete | (ended & ~(view.masked & view.part).any(dim=1) if settled else ended)

    def written(self, place: int) -> list[int]:
        """Return a finished row: what follows its prompt, up to its end-of-turn token, or all of a text with gaps."""
        if not self.ends:
            return self.ids[place, : self.limits[place]].tolist()
        answer: list[int] = self.ids[place, int(self.first[place]) : self.limits[place]].tolist()
        return answer[: answer.index(self.end_of_turn)] if self.end_of_turn in answer else answer

    def advance(self, done: Sequence[bool]) -> None:
        """Move the windows of the rows ``done`` to their next block."""
        self.starts = [start + self.width * moved for start, moved in zip(self.starts, done, strict=True)]
        self.start = torch.tensor(self.starts, device=self.ids.device)

    def keep(self, kept: Sequence[int]) -> Tensor:
        """Keep only some rows of the board; return them as an index [b]."""
        index = torch.tensor(kept, dtype=torch.int64, device=self.ids.device)
        self.rows, self.starts, self.limits = (
            [values[place] for place in kept] for values in (self.rows, self.starts, self.limits)
        )
        self.ids, self.answer, self.masked = self.ids[index], self.answer[index], self.masked[index]
        self.first, self.limit, self.start = self.first[index], self.limit[index], self.start[index]
        self.steps = self.steps[index]
        self.notes = {name: values[index] for name, values in self.notes.items()}
        return index
