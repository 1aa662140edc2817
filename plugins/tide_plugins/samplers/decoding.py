"""The decoding loop of the ``block`` sampler; it reads top to bottom.

Shapes: B rows still being written, W positions of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tide_specs import ConfigError, Denoiser, Sampled

from .board import Board
from .policies import choose, propose
from .randomness import row_generators
from .readers import Reader, reader_for

if TYPE_CHECKING:
    from .block import BlockSampler


@torch.no_grad()
def decode(
    options: BlockSampler, denoiser: Denoiser, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, seed: int
) -> Sampled:
    """Continue prompts by at most ``max_new_tokens`` tokens each."""
    if not prompts or max_new_tokens <= 0:
        return Sampled(ids=[[] for _ in prompts], forwards=0)
    reader = reader_for(denoiser, options.block_length, prompts, cache=options.cache)
    mask = denoiser.mask_token_id
    if mask is None:
        raise ConfigError("sampler 'block' needs a model with a mask token; this one has none")
    device = denoiser.head().weight.device
    board = Board(
        prompts,
        [reader.start(len(prompt)) for prompt in prompts],
        width=reader.width,
        max_new_tokens=max_new_tokens,
        mask_token_id=mask,
        device=device,
    )
    generators = row_generators(prompts, seed, device)
    end_of_turn = denoiser.tokenizer.end_of_turn_token_id
    results: list[list[int]] = [[] for _ in prompts]
    reader.begin(board)
    while board.rows:
        open_ = board.open(reader.part)
        tokens, scores = _predict(options, reader, board, open_, mask, generators)
        chosen = choose(
            scores, open_, commit=options.commit, quota=options.tokens_per_step, threshold=options.threshold
        )
        board.write(chosen, tokens)
        _retire(reader, board, end_of_turn, results)
        if board.rows:
            reader.advance(board, ~board.masked.gather(1, board.places()).any(dim=1))
    return Sampled(ids=results, forwards=reader.forwards)


def _predict(
    options: BlockSampler,
    reader: Reader,
    board: Board,
    open_: Tensor,
    mask: int,
    generators: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    """Return candidate tokens and scores [B, W]; only open positions reach the head, and only they hold something."""
    hidden = reader.hidden(board)[open_]
    owners = [generators[board.rows[row]] for row in open_.nonzero()[:, 0].tolist()]
    found, found_scores = propose(
        hidden,
        reader.denoiser.head(),
        forbidden=mask,
        score=options.score,
        temperature=options.temperature,
        generators=owners,
    )
    tokens = torch.zeros(open_.shape, dtype=torch.int64, device=open_.device)
    scores = torch.zeros(open_.shape, dtype=torch.float64, device=open_.device)
    tokens[open_], scores[open_] = found, found_scores
    return tokens, scores


def _retire(reader: Reader, board: Board, end_of_turn: int, results: list[list[int]]) -> None:
    """Take finished rows off the board and out of the cache."""
    finished = board.finished(end_of_turn)
    if not bool(finished.any()):
        return
    for row in finished.nonzero()[:, 0].tolist():
        results[board.rows[row]] = board.written(row, end_of_turn)
    left = (~finished).nonzero()[:, 0]
    board.keep(left)
    if board.rows:
        reader.keep(left)
