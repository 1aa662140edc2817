"""How a denoiser is asked about the windows of a board, with and without a cache.

Shapes: B rows, T positions of the board, W positions of a window, H hidden size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from tide_specs import ConfigError, DecodingSession, Denoiser

from .board import Board

DEFAULT_BLOCK = 32


class Reader(ABC):
    """Predicts windows. ``width``: W; ``part``: tokens of a window that are written together, which divide W."""

    def __init__(self, denoiser: Denoiser, width: int, part: int) -> None:
        self.denoiser, self.width, self.part = denoiser, width, part
        self.forwards = 0

    def start(self, prompt_length: int) -> int:
        """Return where the first window of a row lies: the block in which the prompt ends."""
        return prompt_length // self.width * self.width

    def begin(self, board: Board) -> None:
        """Read the prompts."""
        return

    @abstractmethod
    def hidden(self, board: Board) -> Tensor:
        """Return the hidden states [B, W, H] of the windows."""

    def advance(self, board: Board, done: Tensor) -> None:
        """Move the windows of the rows ``done`` [B] to their next block."""
        board.start += done * self.width

    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` [b]."""
        return


class WholeReader(Reader):
    """A bidirectional model: everything is read again at every step. Blocks are counted from the end of the prompt."""

    def start(self, prompt_length: int) -> int:
        """Return the end of the prompt."""
        return prompt_length

    def hidden(self, board: Board) -> Tensor:
        """Read prompt and whole answer, cut after the longest row that is left."""
        self.forwards += 1
        ids = board.ids[:, : int(board.limit.max())]
        states = self.denoiser.hidden(ids, ids, board.limit)
        # The last window of a row may reach beyond its answer; nothing is open there.
        places = board.places().clamp(max=ids.shape[1] - 1)
        return states[torch.arange(len(ids), device=ids.device)[:, None], places]


class BlockReader(Reader):
    """A block model without a cache: everything up to the end of the window is read again."""

    def hidden(self, board: Board) -> Tensor:
        """Read finished blocks as clean tokens, and the window as noised ones."""
        self.forwards += 1
        ends = board.start + self.width
        ids = board.ids[:, : int(ends.max())]
        states = self.denoiser.hidden(ids, ids, ends)
        return states[torch.arange(len(ids), device=ids.device)[:, None], board.places()]


class CachedReader(Reader):
    """A block model with the keys and values of finished blocks kept."""

    def __init__(self, denoiser: Denoiser, session: DecodingSession, width: int, part: int) -> None:
        super().__init__(denoiser, width, part)
        self._session = session

    def begin(self, board: Board) -> None:
        """Read the complete blocks of the prompts."""
        longest = int(board.start.max())
        if longest:
            self._session.extend(board.ids[:, :longest], board.start.clone())
            self.forwards += longest // self.width

    def hidden(self, board: Board) -> Tensor:
        """Read the windows alone."""
        self.forwards += 1
        return self._session.hidden(board.window())

    def advance(self, board: Board, done: Tensor) -> None:
        """Read finished blocks once more, as clean tokens, into the cache."""
        if bool(done.any()):
            self._session.extend(board.window(), done * self.width)
            self.forwards += 1
        super().advance(board, done)

    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` of the cache."""
        self._session.keep(rows)


def reader_for(
    denoiser: Denoiser, block_length: int | None, prompts: Sequence[Sequence[int]], *, cache: bool
) -> Reader:
    """Return the reader of a denoiser's form. Raises ``ConfigError`` when a block length does not fit the model."""
    if denoiser.form == "autoregressive":
        raise ConfigError(
            "sampler 'block' fills in mask tokens; an autoregressive model needs sampler 'autoregressive'"
        )
    if denoiser.block_size is None:
        width = block_length or DEFAULT_BLOCK
        return WholeReader(denoiser, width, width)
    width = denoiser.block_size
    part = block_length or width
    if width % part:
        raise ConfigError(
            f"sampler 'block': block_length {part} does not divide the model's blocks of {width} tokens; use a divisor of "
            f"{width}, or leave block_length out"
        )
    if cache:
        try:
            return CachedReader(denoiser, denoiser.session(len(prompts)), width, part)
        except NotImplementedError:
            pass
    return BlockReader(denoiser, width, part)
