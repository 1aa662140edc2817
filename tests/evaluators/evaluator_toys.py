"""A character tokenizer and a denoiser whose every conditional comes from one explicit joint distribution."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import torch

from tide_specs import Denoiser, EncodedExample, Head, TextTokenizer, TokenKind

BOS, EOT, MASK, PAD = 0, 1, 2, 3
FIRST = 4


class Characters(TextTokenizer):
    """One token per character of ``alphabet``; ``change`` is what a lossy normaliser does to the text."""

    mask_token_id = MASK
    pad_token_id = PAD
    end_of_turn_token_id = EOT

    def __init__(self, alphabet="ab", *, change=str, step=1):
        self.step, self.change = step, change
        self.pieces = ["".join(p) for n in range(1, step + 1) for p in itertools.product(alphabet, repeat=n)]
        self.vocabulary_size = FIRST + len(self.pieces)

    def tokens(self, text):
        changed = self.change(text)
        return [changed[i : i + self.step] for i in range(0, len(changed), self.step)]

    def encode(self, examples):
        return [self._encode(example) for example in examples]

    def _encode(self, example):
        rows = [(BOS, TokenKind.MARKUP, -1, -1, False)]
        for number, message in enumerate(example.messages):
            end = 0
            for piece in self.tokens(message.content):
                end += len(piece.encode())
                rows.append((FIRST + self.pieces.index(piece), TokenKind.CONTENT, number, end, message.trainable))
            if message.role != "text" or number == len(example.messages) - 1:
                rows.append((EOT, TokenKind.END_OF_TURN, number, -1, message.trainable))
        ids, kind, of, ends, trainable = zip(*rows, strict=True)
        return EncodedExample(
            ids=np.array(ids, np.int32),
            kind=np.array(kind, np.int8),
            message=np.array(of, np.int32),
            end=np.array(ends, np.int32),
            trainable=np.array(trainable, np.bool_),
        )

    def encode_prompt(self, messages):
        raise NotImplementedError

    def decode(self, ids):
        return "".join(self.pieces[i - FIRST] for i in ids if i >= FIRST)

    def token_bytes(self):
        return [None] * FIRST + [piece.encode() for piece in self.pieces]

    def fingerprint(self):
        return "characters"

    def save(self, path):
        raise NotImplementedError


class Joint:
    """A random distribution over sequences of ``length`` letters; gives any conditional exactly."""

    def __init__(self, letters, length, seed=0):
        self.letters, self.length = letters, length
        table = np.random.default_rng(seed).gamma(0.3, size=(letters,) * length) + 1e-3
        self.table = table / table.sum()
        self.conditional = lru_cache(maxsize=None)(self._conditional)

    def _conditional(self, seen, position):
        """seen: a letter or None per position -> distribution [letters] of one position."""
        index = tuple(slice(None) if letter is None else slice(letter, letter + 1) for letter in seen)
        axes = tuple(axis for axis in range(self.length) if axis != position)
        marginal = self.table[index].sum(axis=axes)
        return marginal / marginal.sum()

    def log_probability(self, letters):
        """log of the probability that a sequence starts with these letters."""
        index = tuple(letters) + (slice(None),) * (self.length - len(letters))
        return float(np.log(self.table[index].sum()))


class JointDenoiser(Denoiser):
    """Position i + 1 of the sequence (behind BOS) is letter i of the joint; hidden states are logits themselves.

    ``noise`` > 0 perturbs every conditional by an amount that depends on its context, so that the conditionals no longer
    belong to one joint and the bound is not tight.
    """

    mask_token_id = MASK

    def __init__(self, joint, form, block_size=None, tokenizer=None, noise=0.0):
        self.joint, self.form, self.block_size, self.noise = joint, form, block_size, noise
        self.tokenizer = tokenizer or Characters("abcdefgh"[: joint.letters])
        self.module = torch.nn.Module()
        self.passes = []
        if form == "autoregressive":
            self.mask_token_id = None

    def seen(self, noised, clean, i):
        """What the prediction of token i may look at: an id per position, MASK where hidden."""
        if self.form == "autoregressive":
            return clean[:i] + [MASK] * (len(clean) - i)
        if self.form == "bidirectional":
            return noised
        start = i // self.block_size * self.block_size
        before = clean[:start] if self.form == "block_diffusion" else noised[:start]
        rest = len(clean) - start - self.block_size
        return before + noised[start : start + self.block_size] + [MASK] * rest

    def logits(self, noised, clean, i):
        out = np.full(self.tokenizer.vocabulary_size, -30.0)
        if not 1 <= i <= self.joint.length:
            return out
        seen = self.seen(noised, clean, i)[1 : self.joint.length + 1]
        seen += [MASK] * (self.joint.length - len(seen))
        letters = tuple(None if token < FIRST else token - FIRST for token in seen)
        hidden = tuple(None if place == i - 1 else letter for place, letter in enumerate(letters))
        probability = self.joint.conditional(hidden, i - 1)
        if self.noise:
            context = [i] + [9 if letter is None else letter for letter in hidden]
            generator = np.random.default_rng(context)
            probability = probability * np.exp(self.noise * generator.normal(size=len(probability)))
        out[FIRST : FIRST + self.joint.letters] = np.log(probability / probability.sum())
        return out

    def hidden(self, noised, clean, lengths, documents=None):
        self.passes.append(tuple(noised.shape))
        rows = zip(noised.tolist(), clean.tolist(), lengths.tolist(), strict=True)
        out = [
            [self.logits(x[:n], y[:n], i) if i < n else np.zeros(self.tokenizer.vocabulary_size) for i in range(len(x))]
            for x, y, n in rows
        ]
        return torch.tensor(np.array(out), dtype=torch.float32)

    def head(self):
        return Head(torch.eye(self.tokenizer.vocabulary_size))

    def save(self, path):
        raise NotImplementedError


class Held:
    """The part of an evaluation context that texts need."""

    device = torch.device("cpu")
    columns = None

    def __init__(self, examples, seed=0):
        self._examples, self.seed = examples, seed

    def examples(self, limit=None):
        return self._examples[:limit]
