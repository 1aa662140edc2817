"""The policies of the ``block`` sampler: how many tokens a step commits, and which it takes back.

Shapes: B rows, W positions of a window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .board import Board, View
from .policies import Decision, Policy, Proposal, order
from .randomness import RowRandomness

if TYPE_CHECKING:
    from .block import BlockSampler

TIMES = "hitting times"
PROBABILITIES = "probabilities"


class BlockPolicy(Policy):
    """Follows the options of a ``BlockSampler``."""

    def __init__(self, options: BlockSampler) -> None:
        self.options = options
        self.score = options.score
        self.entropies = options.commit == "entropy_budget"
        self.revises = options.revise != "never"
        self.probabilities = options.revise == "confidence"
        self.end_of_turn = options.end_of_turn != "never"
        self.block_length = options.block_length

    def begin(self, board: Board, randomness: RowRandomness) -> None:
        """Draw the time at which each position is uncovered, in (0, 1]."""
        if self.options.commit == "first_hitting":
            board.notes[TIMES] = times = torch.ones(board.ids.shape, dtype=torch.float64, device=board.ids.device)
            for place, limit in enumerate(board.limits):
                # As many numbers as the row has tokens: how long the others are must not matter.
                times[place, :limit] -= randomness.uniform(board.rows[place], limit)
        if self.probabilities:
            board.notes[PROBABILITIES] = torch.zeros(board.ids.shape, dtype=torch.float64, device=board.ids.device)

    def decide(
        self, proposal: Proposal, open_: Tensor, view: View, board: Board, randomness: RowRandomness
    ) -> Decision:
        """Commit what is due; under ``revise`` take some back, and commit as many others."""
        options = self.options
        if options.commit == "first_hitting":
            return Decision(chosen=hit(board.at(board.notes[TIMES], view), open_, options.steps_per_block))
        keys = proposal.scores
        if options.end_of_turn == "last":
            keys = keys.masked_fill(proposal.tokens == board.end_of_turn, -1.0)
        if options.commit == "entropy_budget":
            assert proposal.entropies is not None
            return Decision(chosen=within_budget(keys, proposal.entropies, open_, options.entropy_budget))
        chosen = choose(keys, open_, quota=self._quota(open_, board), threshold=self._threshold())
        if not self.revises:
            return Decision(chosen=chosen)
        due = chosen.sum(dim=1)
        probabilities = board.at(board.notes[PROBABILITIES], view) if self.probabilities else None
        held = view.answer & view.part & ~view.masked
        numbers = randomness.uniforms(board.rows, open_.shape[1])
        taken = take_back(held, open_, due, options.revision, numbers, probabilities)
        return Decision(chosen=choose(keys, open_, quota=due + taken.sum(dim=1), threshold=None), taken=taken)

    def _quota(self, open_: Tensor, board: Board) -> Tensor:
        """Return how many tokens [B] are due at least."""
        options = self.options
        if options.commit == "threshold":
            return torch.ones_like(board.steps)
        if options.steps_per_block is None:
            return torch.full_like(board.steps, options.tokens_per_step)
        left = (options.steps_per_block - board.steps).clamp(min=1)
        return (open_.sum(dim=1) + left - 1) // left

    def _threshold(self) -> float | None:
        return None if self.options.commit == "quota" else self.options.threshold


def choose(keys: Tensor, open_: Tensor, *, quota: Tensor, threshold: float | None) -> Tensor:
    """Keys [B, W] -> the ``quota`` [B] best open positions [B, W], and those that reach the threshold."""
    chosen = order(keys, open_) < quota[:, None]
    if threshold is not None:
        chosen = chosen | (keys >= threshold)
    return chosen & open_


def within_budget(keys: Tensor, entropies: Tensor, open_: Tensor, budget: float) -> Tensor:
    """Return the longest run of best open positions [B, W] whose entropies, the largest left out, sum to the budget.

    EB-Sampler (Ben-Hamu et al.): sum H - max H bounds the information shared by tokens that are drawn independently. A
    single position spends nothing, so that one is always chosen.
    """
    rank = order(keys, open_)
    spent = torch.zeros_like(entropies).scatter(1, rank, entropies.masked_fill(~open_, 0.0))
    fits = spent.cumsum(dim=1) - spent.cummax(dim=1).values <= budget
    return fits.gather(1, rank) & open_


def hit(times: Tensor, open_: Tensor, steps: int | None) -> Tensor:
    """Times [B, W] in (0, 1] -> the open positions [B, W] that are uncovered next, as time runs from 1 to 0.

    steps: intervals of a grid; what lies in one interval is uncovered together. ``None``: one position.
    """
    if steps is None:
        return (order(times, open_) == 0) & open_
    interval = (times * steps).ceil().masked_fill(~open_, 0.0)
    return (interval == interval.amax(dim=1, keepdim=True)) & open_


def take_back(
    held: Tensor, open_: Tensor, due: Tensor, share: float, uniform: Tensor, probabilities: Tensor | None
) -> Tensor:
    """Return which held positions [B, W] lose their token (ReMDM).

    open_ [B, W]: masked positions of the block; due [B]: tokens that this step adds; uniform [B, W]: random numbers;
    probabilities [B, W]: with which held tokens were committed, ``None`` for the rescaled schedule. With
    alpha the unmasked share of the block before (t) and after (s) the step, sigma_max = min(1, (1 - alpha_s) / alpha_t).
    """
    masked_after = open_.sum(dim=1) - due
    count = held.sum(dim=1)
    chance = share * (masked_after / count.clamp(min=1)).clamp(max=1.0).double()[:, None]
    if probabilities is not None:
        chance = chance * (-probabilities).masked_fill(~held, -1e9).softmax(dim=1)
    taken = held & (uniform < chance)
    # Others must be there to be committed instead.
    return taken & (order(-uniform, taken) < masked_after[:, None])
