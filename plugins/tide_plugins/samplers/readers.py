"""How a denoiser is asked about the windows of a board, with and without a cache.

Shapes: B rows, T positions of the board, W positions of a window, H hidden size, R = B rows, or 2 B under guidance: the rows
as they are, and the rows with their given tokens masked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from tide_specs import ConfigError, DecodingSession, Denoiser

from .board import Board, View

DEFAULT_BLOCK = 32


class Reader(ABC):
    """Predicts windows. ``width``: W; ``part``: tokens of a window that are written together, which divide W.

    ``forwards``, ``positions``: passes made, and positions that went through the model.
    """

    def __init__(self, denoiser: Denoiser, width: int, part: int, *, guided: bool = False) -> None:
        self.denoiser, self.width, self.part, self.guided = denoiser, width, part, guided
        self.forwards = self.positions = 0

    def start(self, first: int) -> int:
        """Return where the first window of a row lies whose first mask token is ``first``: the block that holds it."""
        return first // self.width * self.width

    def begin(self, board: Board) -> None:
        """Read what precedes the windows."""
        return

    @abstractmethod
    def hidden(self, board: Board, view: View) -> Tensor:
        """Return the hidden states [R, W, H] of the windows."""

    def advance(self, board: Board, view: View, done: Sequence[bool]) -> None:
        """Move the windows of the rows ``done`` to their next block."""
        board.advance(done)

    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` [b]."""
        return

    def _ids(self, board: Board) -> Tensor:
        """Return ids [R, T]: of the unconditional rows only the answer is left."""
        return torch.cat([board.ids, _unconditional(board)]) if self.guided else board.ids

    def _per_row(self, values: Tensor) -> Tensor:
        return values.repeat(2, *[1] * (values.dim() - 1)) if self.guided else values

    def _read(self, ids: Tensor, lengths: Tensor, places: Tensor) -> Tensor:
        """Read rows [R, L] from their beginning; return the states [R, W, H] at some of their places."""
        streams = 2 if self.denoiser.form == "block_diffusion" else 1
        self.forwards, self.positions = self.forwards + 1, self.positions + streams * ids.numel()
        states = self.denoiser.hidden(ids, ids, self._per_row(lengths))
        return states[torch.arange(len(ids), device=ids.device)[:, None], self._per_row(places)]


class WholeReader(Reader):
    """A bidirectional model: everything is read again at every step. Blocks are counted from the end of the prompt."""

    def start(self, first: int) -> int:
        """Return the first mask token itself."""
        return first

    def hidden(self, board: Board, view: View) -> Tensor:
        """Read prompt and whole answer, cut after the longest row that is left."""
        longest = max(board.limits)
        # The last window of a row may reach beyond its answer; nothing is open there.
        return self._read(self._ids(board)[:, :longest], board.limit, view.places.clamp(max=longest - 1))


class BlockReader(Reader):
    """A block model without a cache: everything up to the end of the window is read again."""

    def hidden(self, board: Board, view: View) -> Tensor:
        """Read finished blocks as clean tokens, and the window as noised ones."""
        longest = max(board.starts) + self.width
        return self._read(self._ids(board)[:, :longest], board.start + self.width, view.places)


class CachedReader(Reader):
    """A block model with the keys and values of finished blocks kept."""

    def __init__(
        self, denoiser: Denoiser, session: DecodingSession, width: int, part: int, *, guided: bool = False
    ) -> None:
        super().__init__(denoiser, width, part, guided=guided)
        self._session = session

    def begin(self, board: Board) -> None:
        """Read the complete blocks of the prompts, all at once."""
        longest = max(board.starts)
        if longest:
            self._extend(self._ids(board)[:, :longest], board.start.clone())

    def hidden(self, board: Board, view: View) -> Tensor:
        """Read the windows alone."""
        ids = self._windows(board, view)
        self.forwards, self.positions = self.forwards + 1, self.positions + ids.numel()
        return self._session.hidden(ids)

    def advance(self, board: Board, view: View, done: Sequence[bool]) -> None:
        """Read finished blocks once more, as clean tokens, into the cache."""
        if any(done):
            finished = torch.tensor(done, device=board.ids.device) * self.width
            self._extend(self._windows(board, view), finished)
        super().advance(board, view, done)

    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` of the cache."""
        if self.guided:
            rows = torch.cat([rows, rows + len(self._session.lengths) // 2])
        self._session.keep(rows)

    def _windows(self, board: Board, view: View) -> Tensor:
        return self._ids(board).gather(1, self._per_row(view.places))

    def _extend(self, ids: Tensor, lengths: Tensor) -> None:
        self.forwards, self.positions = self.forwards + 1, self.positions + ids.numel()
        self._session.extend(ids, self._per_row(lengths))


def _unconditional(board: Board) -> Tensor:
    return torch.where(board.answer, board.ids, board.mask)


def reader_for(
    denoiser: Denoiser,
    rows: int,
    *,
    block_length: int | None = None,
    default: int = DEFAULT_BLOCK,
    cache: bool = True,
    guided: bool = False,
) -> Reader:
    """Return the reader of a denoiser's form. Raises ``ConfigError`` when a block length does not fit the model.

    default: the block length of a model that has no blocks.
    """
    if denoiser.block_size is None:
        width = block_length or default
        return WholeReader(denoiser, width, width, guided=guided)
    width = denoiser.block_size
    part = block_length or width
    if width % part:
        raise ConfigError(
            f"sampler 'block': block_length {part} does not divide the model's blocks of {width} tokens; use a divisor of "
            f"{width}, or leave block_length out"
        )
    if cache:
        try:
            session = denoiser.session(2 * rows if guided else rows)
            return CachedReader(denoiser, session, width, part, guided=guided)
        except NotImplementedError:
            pass
    return BlockReader(denoiser, width, part, guided=guided)
