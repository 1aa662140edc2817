"""What to commit: candidate tokens, their scores, and the choice among positions.

Shapes: n open positions, H hidden size, C columns, B rows, W positions of a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tide_specs import Head

from .block import Commit, Score
from .randomness import draw_tokens


def propose(
    hidden: Tensor,
    head: Head,
    *,
    forbidden: int,
    score: Score,
    temperature: float,
    generators: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    """Hidden states [n, H], a generator per position -> candidate tokens [n] and their scores [n] in [0, 1].

    The column ``forbidden`` (the mask token) is never chosen and has no probability.
    """
    tokens = torch.empty(len(hidden), dtype=torch.int64, device=hidden.device)
    scores = torch.empty(len(hidden), dtype=torch.float64, device=hidden.device)
    for part in head.slices(len(hidden)):
        logits = head.logits(hidden[part])
        logits[:, forbidden] = -torch.inf
        tokens[part] = draw_tokens(logits, temperature, generators[part])
        scores[part] = _scores(logits, tokens[part], score, generators[part])
    return tokens, scores


def _scores(logits: Tensor, tokens: Tensor, score: Score, generators: Sequence[torch.Generator]) -> Tensor:
    if score == "random":
        drawn = torch.empty(len(tokens), dtype=torch.float64, device=tokens.device)
        for position, generator in zip(drawn, generators, strict=True):
            position.uniform_(generator=generator)
        return drawn
    log_p = logits.log_softmax(dim=-1)
    if score == "confidence":
        return log_p.gather(1, tokens[:, None])[:, 0].double().exp()
    if score == "margin":
        best = log_p.double().topk(2, dim=-1).values.exp()
        return best[:, 0] - best[:, 1]
    # A forbidden column contributes 0 * -inf, which must count as 0.
    return (log_p.exp() * log_p.clamp(min=-1e4)).sum(dim=-1).double().exp()


def choose(scores: Tensor, open_: Tensor, *, commit: Commit, quota: int, threshold: float) -> Tensor:
    """Scores [B, W] -> which open positions [B, W] are committed; at least one in every row that has any.

    Of equal scores the leftmost wins.
    """
    ranked = torch.where(open_, scores, -torch.inf)
    rank = ranked.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    chosen = rank < (1 if commit == "threshold" else quota)
    if commit != "quota":
        chosen = chosen | (ranked >= threshold)
    return chosen & open_
