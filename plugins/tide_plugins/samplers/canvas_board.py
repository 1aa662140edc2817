"""The texts that canvases are written into.

Shapes: B rows still being written, T positions (prompt, answer, and what fills the last canvas), C positions of a canvas,
S steps that are compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .canvas import CanvasSampler
from .canvas_prediction import Prediction, accepted


class CanvasBoard:
    """Texts [B, T], and the canvas [B, C] that each row is at.

    first, limit, start [B]: end of the prompt, end of the answer, start of the canvas. left [B]: steps that the canvas may
    still take, of ``allowed`` [B]. before [S, B, C]: its likeliest tokens in the last steps. shown [B, C]: what a watcher
    knows. rows: the number of each row among the prompts.
    """

    def __init__(
        self,
        options: CanvasSampler,
        prompts: Sequence[Sequence[int]],
        starts: Sequence[int],
        random: Tensor,
        *,
        max_new_tokens: int,
    ) -> None:
        device, width = random.device, random.shape[1]
        self.options = options
        self.rows = list(range(len(prompts)))
        self.first = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.limit = self.first + max_new_tokens
        self.start = torch.tensor(starts, device=device)
        ends = [s - -(len(p) + max_new_tokens - s) // width * width for s, p in zip(starts, prompts, strict=True)]
        ids = torch.zeros(len(prompts), max(ends), dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.int64)
        self.ids = ids.to(device)
        self.canvas, self.shown = torch.zeros_like(random), torch.zeros_like(random)
        self.before = random.new_zeros((options.stability_threshold, *random.shape))
        self.left, self.allowed = torch.zeros_like(self.start), torch.zeros_like(self.start)
        self.renew(torch.ones_like(self.start, dtype=torch.bool), random)

    @property
    def places(self) -> Tensor:
        """Where the canvases lie [B, C]."""
        return self.start[:, None] + torch.arange(self.canvas.shape[1], device=self.start.device)

    @property
    def open(self) -> Tensor:
        """Which positions [B, C] are to be written: all but the prompt's."""
        return self.places >= self.first[:, None]

    @property
    def temperature(self) -> Tensor:
        """The temperature [B] of each row's next step, float64."""
        fall = self.options.t_max - self.options.t_min
        return self.options.t_min + fall * (self.left.double() / self.allowed)

    def renew(self, rows: Tensor, random: Tensor) -> None:
        """Start the canvases of ``rows`` [B] bool with random tokens [B, C]; the prompt's own stay as they are."""
        begun = torch.where(self.open, random, self.ids.gather(1, self.places))
        self.canvas = torch.where(rows[:, None], begun, self.canvas)
        self.before = self.before.masked_fill(rows[None, :, None], -1)
        self.shown = self.shown.masked_fill(rows[:, None], -1)
        most = self.open.sum(dim=1).clamp(max=self.options.max_denoising_steps)
        self.allowed, self.left = torch.where(rows, most, self.allowed), torch.where(rows, most, self.left)

    def judge(self, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """Return which positions [B, C] this step accepts, and which rows [B] are finished with their canvas."""
        open_ = self.open
        taken = accepted(prediction.entropy, open_, self.options.entropy_bound)
        stable = ((self.before == prediction.likeliest) | ~open_).all(dim=2).all(dim=0)
        mean = prediction.entropy.masked_fill(~open_, 0.0).sum(dim=1) / open_.sum(dim=1)
        self.before = torch.cat([self.before, prediction.likeliest[None]])[1:]
        self.left = self.left - 1
        return taken, (self.left == 0) | (stable & (mean < self.options.confidence_threshold))

    def write(self, prediction: Prediction, taken: Tensor, done: Tensor, random: Tensor) -> None:
        """Write the likeliest tokens of finished canvases into the text; replace what others did not accept."""
        places, open_ = self.places, self.open
        final = torch.where(open_, prediction.likeliest, self.canvas)
        following = torch.where(taken, prediction.drawn, torch.where(open_, random, self.canvas))
        self.canvas = torch.where(done[:, None], final, following)
        self.ids = self.ids.scatter(1, places, torch.where(done[:, None], final, self.ids.gather(1, places)))

    def advance(self, done: Tensor, random: Tensor) -> None:
        """Move the rows ``done`` [B] to their next canvas, which starts with random tokens [B, C]."""
        self.start = self.start + done * self.canvas.shape[1]
        self.renew(done, random)

    def news(self, taken: Tensor, done: Tensor) -> Tensor:
        """Return where [B, C] a watcher learns something: accepted tokens, and those that a finished canvas ends with."""
        told = self.open & (self.places < self.limit[:, None]) & (taken | done[:, None]) & (self.canvas != self.shown)
        self.shown = torch.where(told, self.canvas, self.shown)
        return told

    def ended(self, end_of_turn: int) -> Tensor:
        """Return whose answers [B] reach their limit or hold an end-of-turn token, once their canvas is written."""
        reached = self.start + self.canvas.shape[1]
        index = torch.arange(self.ids.shape[1], device=self.ids.device)
        written = (index >= self.first[:, None]) & (index < torch.minimum(reached, self.limit)[:, None])
        return (reached >= self.limit) | ((self.ids == end_of_turn) & written).any(dim=1)

    def answer(self, place: int, end_of_turn: int) -> list[int]:
        """Return the answer of a finished row, its end-of-turn token and what follows left out."""
        found: list[int] = self.ids[place, int(self.first[place]) : int(self.limit[place])].tolist()
        return found[: found.index(end_of_turn)] if end_of_turn in found else found

    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` [b]."""
        self.rows = [self.rows[row] for row in rows.tolist()]
        self.ids, self.canvas, self.shown, self.before = (
            self.ids[rows],
            self.canvas[rows],
            self.shown[rows],
            self.before[:, rows],
        )
        self.first, self.limit, self.start = self.first[rows], self.limit[rows], self.start[rows]
        self.left, self.allowed = self.left[rows], self.allowed[rows]
