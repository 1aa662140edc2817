"""Telling who watches what a step did.

Shapes: B rows, W positions of a window.
"""

from __future__ import annotations

import torch

from tide_specs import SamplingStep, Watch

from .board import Board, View
from .policies import Decision, Proposal


def tell(watch: Watch, board: Board, view: View, proposal: Proposal, decision: Decision, forwards: int) -> None:
    """Report every row that changed: tokens written with their scores, tokens taken back as mask tokens with score 0."""
    changed = decision.chosen if decision.taken is None else decision.chosen | decision.taken
    tokens = torch.where(decision.chosen, proposal.tokens, board.mask)
    changes, places, written = torch.stack([changed.long(), view.places, tokens]).tolist()
    scores = proposal.scores.masked_fill(~decision.chosen, 0.0).tolist()
    for row, *columns in zip(board.rows, changes, places, written, scores, strict=True):
        kept = [values for values in zip(*columns, strict=True) if values[0]]
        if kept:
            _, positions, ids, sure = zip(*kept, strict=True)
            watch(SamplingStep(row=row, positions=positions, tokens=ids, scores=sure, forwards=forwards))
