"""Candidate tokens and their scores, from the hidden states of open positions.

Shapes: n open positions, H hidden size, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tide_specs import Head

from .block import Score
from .randomness import draw_tokens


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How candidates are drawn, and what is to be known of them.

    forbidden: the mask token, which is never drawn and has no probability; guidance: weight w.
    """

    forbidden: int
    end_of_turn: int
    score: Score = "confidence"
    temperature: float = 0.0
    guidance: float = 0.0
    entropies: bool = False
    probabilities: bool = False


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Of every open position [n]: token, score in [0, 1] (0 where scores are random), and what else was wanted."""

    tokens: Tensor
    scores: Tensor
    entropies: Tensor | None
    probabilities: Tensor | None


def propose(
    hidden: Tensor,
    head: Head,
    wanted: Wanted,
    generators: Sequence[torch.Generator],
    *,
    unconditional: Tensor | None = None,
    unended: Tensor | None = None,
) -> Candidates:
    """Hidden states [n, H], a generator per position (none at temperature 0) -> candidates [n].

    unconditional [n, H]: the same positions without their prompt; unended [n]: where no turn may end yet.
    """
    count, device = len(hidden), hidden.device
    tokens = torch.empty(count, dtype=torch.int64, device=device)
    numbers = {name: torch.zeros(count, dtype=torch.float64, device=device) for name in ("score", "entropy", "p")}
    for part in head.slices(count):
        logits = head.logits(hidden[part])
        if unconditional is not None:
            without = head.logits(unconditional[part])
            logits = without + (1.0 + wanted.guidance) * (logits - without)
        logits[:, wanted.forbidden] = -torch.inf
        if unended is not None:
            logits[:, wanted.end_of_turn].masked_fill_(unended[part], -torch.inf)
        tokens[part] = draw_tokens(logits, wanted.temperature, generators[part])
        for name, values in _numbers(logits, tokens[part], wanted):
            numbers[name][part] = values
    return Candidates(
        tokens=tokens,
        scores=numbers["score"],
        entropies=numbers["entropy"] if wanted.entropies else None,
        probabilities=numbers["p"] if wanted.probabilities else None,
    )


def _numbers(logits: Tensor, tokens: Tensor, wanted: Wanted) -> list[tuple[str, Tensor]]:
    """Return what is wanted of one slice, from the untempered distribution."""
    if wanted.score == "random" and not wanted.entropies and not wanted.probabilities:
        return []
    found: list[tuple[str, Tensor]] = []
    log_p = logits.log_softmax(dim=-1)
    if wanted.score == "confidence" or wanted.probabilities:
        probability = log_p.gather(1, tokens[:, None])[:, 0].double().exp()
        found += [("score", probability)] if wanted.score == "confidence" else []
        found.append(("p", probability))
    if wanted.score == "entropy" or wanted.entropies:
        # A forbidden column contributes 0 * -inf, which must count as 0.
        entropy = -(log_p.exp() * log_p.clamp(min=-1e4)).sum(dim=-1).double().clamp(max=0.0)
        found += [("score", (-entropy).exp())] if wanted.score == "entropy" else []
        found.append(("entropy", entropy))
    if wanted.score == "margin":
        best = log_p.topk(2, dim=-1).values.double().exp()
        found.append(("score", best[:, 0] - best[:, 1]))
    return found
