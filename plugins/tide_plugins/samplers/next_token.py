"""The decoding loop of the ``autoregressive`` sampler.

Shapes: B rows, T tokens, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tide_specs import ConfigError, DecodingSession, Denoiser, Sampled, SamplingStep, Watch

from .inputs import check_length, check_minimum
from .randomness import draw_tokens, row_generators

if TYPE_CHECKING:
    from .autoregressive import AutoregressiveSampler


class Continuation:
    """Rows that grow by a token at a time, read with or without a cache.

    ``forwards``, ``positions``: passes made, and positions that went through the model.
    """

    def __init__(
        self, denoiser: Denoiser, prompts: Sequence[Sequence[int]], device: torch.device, *, cache: bool
    ) -> None:
        self.denoiser = denoiser
        self.forwards = self.positions = 0
        longest = max(map(len, prompts))
        self.ids = torch.full((len(prompts), longest), denoiser.tokenizer.pad_token_id)
        for row, prompt in enumerate(prompts):
            self.ids[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.int64)
        self.ids = self.ids.to(device)
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.session = _session(denoiser, len(prompts)) if cache else None
        if self.session is not None:
            self._extend(self.session, self.ids, self.lengths.clone())

    def next_hidden(self) -> Tensor:
        """Return the hidden states [B, H] that predict the next token of each row."""
        if self.session is not None:
            # An autoregressive session remembers what its last token predicts: no pass is made.
            return self.session.hidden(self.ids[:, :1])[:, 0]
        # Position ``length`` holds what is predicted; an autoregressive model does not read it.
        ids = torch.cat([self.ids, self.ids[:, :1]], dim=1)
        self.forwards, self.positions = self.forwards + 1, self.positions + ids.numel()
        hidden = self.denoiser.hidden(ids, ids, self.lengths + 1)
        return hidden[torch.arange(len(ids), device=ids.device), self.lengths]

    def append(self, tokens: Tensor, rows: Sequence[int]) -> None:
        """Append tokens [B] and keep only ``rows`` of the batch."""
        if self.session is None:
            ids = torch.cat([self.ids, self.ids[:, :1]], dim=1)
            self.ids = ids.scatter(1, self.lengths[:, None], tokens[:, None])
        self.lengths = self.lengths + 1
        if len(rows) < len(self.ids):
            index = torch.tensor(rows, device=tokens.device)
            self.ids, self.lengths, tokens = self.ids[index], self.lengths[index], tokens[index]
            if self.session is not None:
                self.session.keep(index)
        if self.session is not None:
            self._extend(self.session, tokens[:, None])

    def _extend(self, session: DecodingSession, ids: Tensor, lengths: Tensor | None = None) -> None:
        self.forwards, self.positions = self.forwards + 1, self.positions + ids.numel()
        session.extend(ids, lengths)


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
    watch: Watch | None = None,
) -> Sampled:
    """Continue prompts by at most ``max_new_tokens`` tokens each."""
    _check(options, denoiser, prompts, max_new_tokens)
    if not prompts or max_new_tokens <= 0:
        return Sampled(ids=[[] for _ in prompts], forwards=0)
    device = denoiser.head().weight.device
    text = Continuation(denoiser, prompts, device, cache=options.cache)
    generators = row_generators(prompts, seed, device)
    results: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    end_of_turn = denoiser.tokenizer.end_of_turn_token_id
    for count in range(max_new_tokens):
        forbidden = [denoiser.tokenizer.mask_token_id, end_of_turn if count < options.min_new_tokens else None]
        logits = forbid(denoiser.head().logits(text.next_hidden()), forbidden)
        drawn = draw_tokens(restrict(logits, options), options.temperature, [generators[row] for row in rows])
        tokens = drawn.tolist()
        if watch is not None:
            scores = logits.softmax(dim=1).gather(1, drawn[:, None])[:, 0].tolist()
            for row, token, score in zip(rows, tokens, scores, strict=True):
                place = len(prompts[row]) + count
                watch(SamplingStep(row=row, positions=[place], tokens=[token], scores=[score], forwards=text.forwards))
        left = [place for place, token in enumerate(tokens) if token != end_of_turn]
        for place in left:
            results[rows[place]].append(tokens[place])
        rows = [rows[place] for place in left]
        if not rows or count + 1 == max_new_tokens:
            break
        text.append(drawn, left)
    return Sampled(ids=results, forwards=text.forwards, positions=text.positions)


def _check(
    options: AutoregressiveSampler, denoiser: Denoiser, prompts: Sequence[Sequence[int]], max_new_tokens: int
) -> None:
    if denoiser.form != "autoregressive":
        raise ConfigError(f"sampler 'autoregressive' cannot decode a {denoiser.form} model; use sampler 'block'")
    check_minimum(options, options.min_new_tokens, max_new_tokens)
    if not all(prompts):
        raise ConfigError("an autoregressive model needs at least one token to continue; give every prompt one")
    check_length(denoiser, [len(prompt) for prompt in prompts], max_new_tokens)


def forbid(logits: Tensor, tokens: Sequence[int | None]) -> Tensor:
    """Logits [B, C] with -inf in the columns ``tokens``; ``None``, and what the head does not have, are skipped."""
    columns = [token for token in tokens if token is not None and token < logits.shape[1]]
    if not columns:
        return logits
    return logits.index_fill(1, torch.tensor(columns, device=logits.device), -torch.inf)


def restrict(logits: Tensor, options: AutoregressiveSampler) -> Tensor:
    """Logits [B, C] with -inf where top_k and top_p leave a token out."""
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
