"""The sequences being written.

Shapes: B rows still being written, T positions (prompt, answer, and what fills the last block), W positions of a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Board:
    """Prompts followed by mask tokens, and a window per row that moves over them.

    ids [B, T]; masked [B, T]: positions that are still to be written; first, limit, start [B]: end of the prompt, end of
    the answer, first position of the window; rows: the number of each row among the prompts.
    """

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        starts: Sequence[int],
        *,
        width: int,
        max_new_tokens: int,
        mask_token_id: int,
        device: torch.device,
    ) -> None:
        self.width = width
        limits = [len(prompt) + max_new_tokens for prompt in prompts]
        ends = [start + -(-(limit - start) // width) * width for start, limit in zip(starts, limits, strict=True)]
        self.rows = list(range(len(prompts)))
        self.ids = torch.full((len(prompts), max(ends)), mask_token_id)
        for row, prompt in enumerate(prompts):
            self.ids[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.int64)
        self.ids = self.ids.to(device)
        self.first = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.limit = torch.tensor(limits, device=device)
        self.start = torch.tensor(starts, device=device)
        self._index = torch.arange(max(ends), device=device)
        self.masked = self._answer()

    def _answer(self) -> Tensor:
        return (self._index >= self.first[:, None]) & (self._index < self.limit[:, None])

    def places(self) -> Tensor:
        """Return the positions [B, W] of each row's window."""
        return self.start[:, None] + self._index[: self.width]

    def window(self) -> Tensor:
        """Return the ids [B, W] inside the windows."""
        return self.ids.gather(1, self.places())

    def open(self, part: int) -> Tensor:
        """Return which window positions [B, W] may be written: the masked ones of the first unfinished part of a window."""
        masked = self.masked.gather(1, self.places())
        unfinished = masked.unflatten(1, (-1, part)).any(dim=2)
        current = unfinished.int().argmax(dim=1)
        return masked & (self._index[: self.width] // part == current[:, None])

    def write(self, chosen: Tensor, tokens: Tensor) -> None:
        """Write tokens [B, W] at the chosen window positions [B, W]."""
        places = self.places()
        self.ids.scatter_(1, places, torch.where(chosen, tokens, self.window()))
        self.masked.scatter_(1, places, self.masked.gather(1, places) & ~chosen)

    def finished(self, end_of_turn: int) -> Tensor:
        """Return which rows [B] are complete: nothing is masked, or nothing before a first end-of-turn token."""
        ends = (self.ids == end_of_turn) & self._answer() & ~self.masked
        return ~self.masked.any(dim=1) | (ends & (self.masked.cumsum(dim=1) == 0)).any(dim=1)

    def written(self, row: int, end_of_turn: int) -> list[int]:
        """Return the answer of a finished row, its end-of-turn token and what follows left out."""
        answer: list[int] = self.ids[row, int(self.first[row]) : int(self.limit[row])].tolist()
        return answer[: answer.index(end_of_turn)] if end_of_turn in answer else answer

    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` [b] of the board."""
        self.rows = [self.rows[row] for row in rows.tolist()]
        self.ids, self.masked = self.ids[rows], self.masked[rows]
        self.first, self.limit, self.start = self.first[rows], self.limit[rows], self.start[rows]
