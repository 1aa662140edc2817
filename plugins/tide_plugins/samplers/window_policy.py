"""The policy of the ``window`` sampler.

Shapes: B rows, W positions of a block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .board import Board, View
from .policies import Decision, Policy, Proposal, order
from .randomness import RowRandomness

if TYPE_CHECKING:
    from .window import WindowSampler


class WindowPolicy(Policy):
    """Follows the options of a ``WindowSampler``."""

    score = "entropy"
    entropies = True
    whole = True

    def __init__(self, options: WindowSampler) -> None:
        self.options = options

    def open(self, view: View) -> Tensor:
        """Return the masked positions of the window, which begins at the first of them."""
        return view.masked & (self._distance(view.masked) < self.options.window)

    def decide(
        self, proposal: Proposal, open_: Tensor, view: View, board: Board, randomness: RowRandomness
    ) -> Decision:
        """Commit the positions whose entropy and distance are small."""
        assert proposal.entropies is not None
        cost = proposal.entropies + self.options.distance_penalty * self._distance(open_)
        chosen = (cost < self.options.entropy_threshold) | (order(-cost, open_) == 0)
        return Decision(chosen=chosen & open_)

    def _distance(self, masked: Tensor) -> Tensor:
        index = torch.arange(masked.shape[1], device=masked.device)
        return index - masked.int().argmax(dim=1, keepdim=True)
