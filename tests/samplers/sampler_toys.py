"""Denoisers whose every prediction is a table entry: what a sampler does with them can be enumerated."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from tide_specs import DecodingSession, Denoiser, Head

MASK, EOT, PAD = 0, 1, 2
FIRST = 3
PROMPTS = [[3, 4, 5], [4], [5, 5, 3, 4, 3], [3, 4, 5]]
FORMS = [("bidirectional", None), ("block_diffusion", 2), ("block_causal", 4)]
POLICIES = [
    {},
    {"tokens_per_step": 3, "score": "margin"},
    {"steps_per_block": 2, "score": "random"},
    {"commit": "threshold", "threshold": 0.5, "score": "entropy"},
    {"commit": "threshold_or_quota", "threshold": 0.6, "tokens_per_step": 2},
    {"commit": "first_hitting"},
    {"commit": "first_hitting", "steps_per_block": 2},
    {"commit": "entropy_budget", "entropy_budget": 1.5},
    {"revise": "rescaled", "revision": 0.7, "tokens_per_step": 1},
    {"revise": "confidence", "revision": 1.0, "commit": "threshold_or_quota", "threshold": 0.6},
    {"end_of_turn": "last", "tokens_per_step": 2},
    {"guidance": 0.8},
]


def close(observed, expected, draws):
    """Whether frequencies differ from probabilities by less than chance explains (five standard errors)."""
    assert abs(sum(expected.values()) - 1.0) < 1e-9
    assert set(observed) <= {key for key, p in expected.items() if p > 0}
    for key, p in expected.items():
        assert abs(observed[key] / draws - p) < 5 * np.sqrt(p * (1 - p) / draws) + 1 / draws, key


class Ids:
    """The part of a tokenizer that samplers read."""

    mask_token_id, end_of_turn_token_id, pad_token_id = MASK, EOT, PAD


@cache
def distribution(context, position, columns, sharpness, seed):
    """A random distribution over all columns that depends on everything the position may see."""
    generator = np.random.default_rng([seed, position, *(token + 1 for token in context)])
    logits = sharpness * generator.normal(size=columns)
    return logits - np.log(np.exp(logits).sum())


class TableDenoiser(Denoiser):
    """``sharpness``: standard deviation of the logits; ``never``: columns without probability."""

    tokenizer = Ids()

    def __init__(
        self, form, columns, block_size=None, *, sharpness=1.0, seed=0, never=(), cached=False, wants_end_at=None
    ):
        self.form, self.columns, self.block_size = form, columns, block_size
        self.sharpness, self.seed, self.never, self.cached = sharpness, seed, never, cached
        self.wants_end_at = wants_end_at
        self.mask_token_id = None if form == "autoregressive" else MASK
        self.module = torch.nn.Module()
        self.calls = []

    def log_p(self, context, position):
        """Log-probabilities [columns] of one position, given a tuple of what it may see."""
        logits = distribution(context, position, self.columns, self.sharpness, self.seed).copy()
        if self.wants_end_at is not None:
            logits[EOT] = 50.0 if position in self.wants_end_at else -50.0
        logits[list(self.never)] = -1e9
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()

    def sees(self, noised, clean, i):
        if self.form == "autoregressive":
            return tuple(clean[:i])
        if self.block_size is None:
            return tuple(noised)
        start = i // self.block_size * self.block_size
        before = clean[:start] if self.form == "block_diffusion" else noised[:start]
        return tuple(before) + tuple(noised[start : start + self.block_size])

    def hidden(self, noised, clean, lengths, documents=None):
        self.calls.append(tuple(noised.shape))
        out = np.zeros((*noised.shape, self.columns))
        for row, (x, y, n) in enumerate(zip(noised.tolist(), clean.tolist(), lengths.tolist(), strict=True)):
            for i in range(n):
                out[row, i] = self.log_p(self.sees(x[:n], y[:n], i), i)
        return torch.tensor(out, dtype=torch.float32)

    def head(self):
        return Head(torch.eye(self.columns))

    def save(self, path):
        raise NotImplementedError

    def session(self, rows):
        return TableSession(self, rows) if self.cached else super().session(rows)


class TableSession(DecodingSession):
    """Keeps the ids themselves: the exact cache of a table."""

    def __init__(self, denoiser, rows):
        self.extended = denoiser.extended = []
        self.denoiser, self.texts = denoiser, [[] for _ in range(rows)]
        self.lengths = torch.zeros(rows, dtype=torch.int64)

    def extend(self, clean, lengths=None):
        self.extended.append(tuple(clean.shape))
        counts = [clean.shape[1]] * len(clean) if lengths is None else lengths.tolist()
        for text, new, count in zip(self.texts, clean.tolist(), counts, strict=True):
            text += new[:count]
        self.lengths = torch.tensor([len(text) for text in self.texts])
        return torch.zeros(*clean.shape, self.denoiser.columns)

    def hidden(self, noised):
        self.denoiser.calls.append(tuple(noised.shape))
        out = []
        for text, new in zip(self.texts, noised.tolist(), strict=True):
            full = text + new
            out.append([self.denoiser.log_p(self.denoiser.sees(full, full, i), i) for i in range(len(text), len(full))])
        return torch.tensor(np.array(out), dtype=torch.float32)

    def keep(self, rows):
        self.texts = [self.texts[row] for row in rows.tolist()]
        self.lengths = self.lengths[rows]
