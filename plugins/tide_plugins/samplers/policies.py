"""What a decoding step asks: which positions are open, what could stand there, and what is done about it.

Shapes: B rows, W positions of a window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from .block import Score
from .board import Board, View
from .randomness import RowRandomness


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A candidate for every open position [B, W]; elsewhere zero.

    tokens: int64; scores: in [0, 1], untempered; entropies: nats; probabilities: of the candidates, untempered. The last
    two are there for policies that ask for them.
    """

    tokens: Tensor
    scores: Tensor
    entropies: Tensor | None = None
    probabilities: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Positions [B, W] that are committed, and those whose token is taken back."""

    chosen: Tensor
    taken: Tensor | None = None


class Policy(ABC):
    """Decides what a step does."""

    score: Score = "confidence"
    """How positions are scored."""
    entropies: bool = False
    """Whether proposals are to hold entropies."""
    probabilities: bool = False
    """Whether proposals are to hold probabilities, which the board then keeps."""
    revises: bool = False
    """Whether committed tokens may be taken back while their block is unfinished."""
    end_of_turn: bool = True
    """Whether an end-of-turn token may be written."""
    block_length: int | None = None
    """Tokens that are written together; ``None``: a model's block, or 32 of a bidirectional model."""
    whole: bool = False
    """Whether a bidirectional model writes its whole answer as one block."""

    def begin(self, board: Board, randomness: RowRandomness) -> None:
        """Prepare what the board is to remember."""
        return

    def open(self, view: View) -> Tensor:
        """Return the positions [B, W] that a step may write; at least one in a row that has a masked position."""
        return view.masked & view.part

    @abstractmethod
    def decide(
        self, proposal: Proposal, open_: Tensor, view: View, board: Board, randomness: RowRandomness
    ) -> Decision:
        """Return what is done; at least one more position is written than taken back in each row with open ones."""


def order(keys: Tensor, open_: Tensor) -> Tensor:
    """Return the rank [B, W] of each open position, 0 for the greatest key; of equal keys the leftmost comes first."""
    ranked = keys.masked_fill(~open_, -float("inf"))
    return ranked.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
