"""Block-wise decoding as the published sampler of block-diffusion models does it, on transformers' own model.

For every block the whole text before it is read again (logits included), every denoising step reads the block behind a deep copy
of that cache, every position of the block reaches the head, and rows that are complete are computed until all are.

Shapes: B rows, P tokens of the prompt, T positions before the block, W tokens of a block, C columns.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def sample(
    model: Any, prompts: Tensor, *, new_tokens: int, block: int, per_step: int, mask_token: int, forbidden: list[int]
) -> Tensor:
    """Prompts [B, P] -> greedy continuation [B, new_tokens]; ``per_step`` tokens of a row are committed in each step."""
    rows, length = prompts.shape
    limit = length + new_tokens
    ids = torch.full((rows, -(-limit // block) * block), mask_token)
    ids[:, :length] = prompts
    writable = (torch.arange(ids.shape[1]) >= length) & (torch.arange(ids.shape[1]) < limit)
    # The first block is the one that the prompt ends in, as in training.
    for start in range(length // block * block, limit, block):
        window = slice(start, start + block)
        known = read_prefix(model, ids[:, :start], block)
        masked = writable[window].expand(rows, -1).clone()
        while masked.any():
            logits = read_block(model, ids[:, window], known, start)
            ids[:, window], masked = step(logits, ids[:, window], masked, per_step, forbidden)
    return ids[:, length:limit]


def read_prefix(model: Any, prefix: Tensor, block: int) -> Any:
    """Prefix [B, T] -> its keys and values; a token sees its own and earlier blocks."""
    number = torch.arange(prefix.shape[1]) // block
    staircase = (number[None, :] <= number[:, None])[None, None].expand(len(prefix), -1, -1, -1)
    positions = torch.arange(prefix.shape[1])[None].expand(len(prefix), -1)
    out = model(input_ids=prefix, attention_mask=staircase, position_ids=positions, use_cache=True)
    return out.past_key_values


def read_block(model: Any, ids: Tensor, known: Any, start: int) -> Tensor:
    """Block [B, W] behind the cache of the ``start`` tokens before it -> logits [B, W, C]."""
    rows, width = ids.shape
    positions = torch.arange(start, start + width)[None].expand(rows, -1)
    everything = torch.ones(rows, 1, width, start + width, dtype=torch.bool)
    out = model(
        input_ids=ids,
        attention_mask=everything,
        position_ids=positions,
        past_key_values=copy.deepcopy(known),
        use_cache=False,
    )
    logits: Tensor = out.logits
    return logits


def step(logits: Tensor, ids: Tensor, masked: Tensor, per_step: int, forbidden: list[int]) -> tuple[Tensor, Tensor]:
    """Logits [B, W, C], ids and masked [B, W] -> both after the likeliest tokens of the surest positions are committed."""
    logits[..., forbidden] = -torch.inf
    tokens = logits.argmax(-1)
    sure = logits.softmax(-1).gather(-1, tokens[..., None])[..., 0].masked_fill(~masked, -torch.inf)
    best = sure.topk(min(per_step, int(masked.sum(1).max())), dim=1).indices
    chosen = torch.zeros_like(masked).scatter(1, best, True) & masked
    return torch.where(chosen, tokens, ids), masked & ~chosen
