"""The decoding loop of the ``autoregressive`` sampler.

Shapes: B rows still being written, T tokens, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tide_specs import ConfigError, DecodingSession, Denoiser, Sampled

from .randomness import draw_tokens, row_generators

if TYPE_CHECKING:
    from .autoregressive import AutoregressiveSampler


class Continuation:
    """Rows that grow by a token at a time, read with or without a cache."""

    def __init__(
        self, denoiser: Denoiser, prompts: Sequence[Sequence[int]], device: torch.device, *, cache: bool
    ) -> None:
        self.denoiser, self.forwards = denoiser, 0
        longest = max(map(len, prompts))
        self.ids = torch.full((len(prompts), longest), denoiser.tokenizer.pad_token_id)
        for row, prompt in enumerate(prompts):
            self.ids[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.int64)
        self.ids = self.ids.to(device)
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.session = _session(denoiser, len(prompts)) if cache else None
        if self.session is not None:
            self.session.extend(self.ids, self.lengths.clone())
            self.forwards = 1

    def next_hidden(self) -> Tensor:
        """Return the hidden states [B, H] that predict the next token of each row."""
        if self.session is not None:
            return self.session.hidden(self.ids[:, :1])[:, 0]
        self.forwards += 1
        # Position ``length`` holds what is predicted; an autoregressive model does not read it.
        ids = torch.cat([self.ids, self.ids[:, :1]], dim=1)
        hidden = self.denoiser.hidden(ids, ids, self.lengths + 1)
        return hidden[torch.arange(len(ids), device=ids.device), self.lengths]

    def append(self, tokens: Tensor, rows: Tensor) -> None:
        """Append tokens [B] and keep only ``rows`` [b]."""
        if self.session is not None:
            self.session.keep(rows)
            self.session.extend(tokens[rows, None])
            self.forwards += 1
        else:
            ids = torch.cat([self.ids, self.ids[:, :1]], dim=1)
            self.ids = ids.scatter(1, self.lengths[:, None], tokens[:, None])
        self.ids, self.lengths = self.ids[rows], self.lengths[rows] + 1


def _session(denoiser: Denoiser, rows: int) -> DecodingSession | None:
    try:
        return denoiser.session(rows)
    except NotImplementedError:
        return None


@torch.no_grad()
def decode(
    options: AutoregressiveSampler,
    denoiser: Denoiser,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    seed: int,
) -> Sampled:
    """Continue prompts by at most ``max_new_tokens`` tokens each."""
    if denoiser.form != "autoregressive":
        raise ConfigError(f"sampler 'autoregressive' cannot decode a {denoiser.form} model; use sampler 'block'")
    if not prompts or max_new_tokens <= 0:
        return Sampled(ids=[[] for _ in prompts], forwards=0)
    if not all(prompts):
        raise ConfigError("an autoregressive model needs at least one token to continue; give every prompt one")
    device = denoiser.head().weight.device
    text = Continuation(denoiser, prompts, device, cache=options.cache)
    generators = row_generators(prompts, seed, device)
    results: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    while rows:
        logits = restrict(denoiser.head().logits(text.next_hidden()), denoiser.tokenizer.mask_token_id, options)
        tokens = draw_tokens(logits, options.temperature, [generators[row] for row in rows])
        left: list[int] = []
        for place, token in enumerate(tokens.tolist()):
            written = results[rows[place]]
            if token != denoiser.tokenizer.end_of_turn_token_id:
                written.append(token)
                left += [place] if len(written) < max_new_tokens else []
        rows = [rows[place] for place in left]
        if rows:
            text.append(tokens, torch.tensor(left, device=device))
    return Sampled(ids=results, forwards=text.forwards)


def restrict(logits: Tensor, mask_token_id: int | None, options: AutoregressiveSampler) -> Tensor:
    """Logits [B, C] with -inf where a token is not to be drawn: the mask token, and what top_k and top_p leave out."""
    if mask_token_id is not None and mask_token_id < logits.shape[1]:
        logits = logits.index_fill(1, torch.tensor([mask_token_id], device=logits.device), -torch.inf)
    if options.top_k and options.top_k < logits.shape[1]:
        smallest = logits.topk(options.top_k, dim=1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if options.top_p < 1.0:
        ordered, order = logits.sort(dim=1, descending=True)
        probability = ordered.softmax(dim=1)
        # The token that crosses the bound is kept: what lies before it holds less than top_p.
        dropped = probability.cumsum(dim=1) - probability >= options.top_p
        logits = logits.masked_fill(dropped.scatter(1, order, dropped), -torch.inf)
    return logits
