"""Which position of a model predicts which token: a wrong answer is the commonest silent error of this field.

Shapes: B rows, L tokens, N masked positions, H hidden size.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tide_plugins.attention.eager import Eager
from tide_specs import ConfigError, Message

from ..families.family import Shift
from .denoiser import TransformersDenoiser, denoiser

logger = logging.getLogger("tide_core.models")
"""A child of the logger whose messages the command line prints."""

PROSE = (
    "The capital of France is Paris, and the capital of Italy is Rome. Water boils at one hundred degrees and freezes at "
    "zero. Once upon a time there was a little girl who lived with her mother in a small house near the forest. In the "
    "morning she went to school, and in the evening she read a book. The children played in the garden until it was dark."
)
CODE = '''import os


def read_lines(path):
    """Return the lines of a file."""
    with open(path) as file:
        return [line.strip() for line in file]


class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()
'''
"""Two texts of which any language model knows one."""
LONGEST = 128
"""Tokens of each that are read, at most."""
KNOWS = 1.0
"""Nats below a uniform guess that make a shift worth believing. Random weights never get there: on average they are worse
than uniform, by half the variance of their logits."""
CLEARLY = 0.5
"""Nats by which the other shift must fit better; four standard errors of the difference must be exceeded as well, so that no
choice of masked tokens explains it."""


@dataclass(frozen=True, kw_only=True)
class ShiftFinding:
    """Masked cross-entropy in nats per token under both shifts, and the shift that fits.

    ``error``: standard error of the difference, from the same masked tokens; ``uniform``: cross-entropy of a uniform guess.
    """

    none: float
    right: float
    configured: Shift
    error: float = math.inf
    uniform: float = math.inf

    @property
    def fits(self) -> Shift:
        """The shift with the lower cross-entropy."""
        return "none" if self.none <= self.right else "right"

    @property
    def agrees(self) -> bool:
        """Whether the model is configured with the shift that fits."""
        return self.fits == self.configured

    @property
    def clear(self) -> bool:
        """Whether the difference is beyond doubt: the better shift knows the text, and noise cannot explain its lead."""
        lead = abs(self.none - self.right)
        knows = min(self.none, self.right) < self.uniform - KNOWS
        return knows and lead > CLEARLY and lead > 4 * self.error

    def __str__(self) -> str:
        verdict = "as configured" if self.agrees else f"but it is configured with shift: {self.configured}"
        return (
            f"masked cross-entropy {self.none:.3f} (none), {self.right:.3f} (right): shift: {self.fits} fits, {verdict}"
        )


def warn_of_shift(model: TransformersDenoiser, name: str) -> ShiftFinding | None:
    """Log a warning when the other shift fits the model ``name`` clearly better. Costs two forwards of two short rows.

    Returns the finding on the text that the model knows better, ``None`` where nothing can be compared: no mask token, or no
    room for the texts.
    """
    rows = None if model.mask_token_id is None else _rows(model)
    if rows is None:
        return None
    ids, lengths = rows
    with _plain_attention(model):
        compared = _compare(model, ids, lengths, _masked(ids, lengths, None, ratio=0.3, seed=0))
    finding = min(
        (_finding(model, compared[compared[:, 0] == row]) for row in (0, 1)), key=lambda f: min(f.none, f.right)
    )
    if finding.clear and not finding.agrees:
        logger.warning(
            "%s: %s. Correct `shift`; or, if it is meant to be trained that way, set `check_shift: false`",
            name,
            finding,
        )
    return finding


@contextmanager
def _plain_attention(model: TransformersDenoiser) -> Generator[None]:
    """Two short rows are not worth the kernels that a backend would compile for them."""
    network = model.network
    usual, network.attention = network.attention, Eager()
    try:
        yield
    finally:
        network.attention = usual


def _rows(model: TransformersDenoiser) -> tuple[Tensor, Tensor] | None:
    """Return the two texts as ids [2, L], filled up to whole blocks, and their lengths [2]."""
    tokenizer, block = model.tokenizer, model.block_size or 1
    texts = [tokenizer.encode_prompt([Message(role="text", content=text)])[:LONGEST] for text in (PROSE, CODE)]
    room = (model.network.longest or LONGEST + block) // block * block
    texts = [ids[:room] for ids in texts]
    shortest, longest = sorted(map(len, texts))
    if shortest < 16 or any(model.mask_token_id in ids for ids in texts):
        return None
    device = next(model.module.parameters()).device
    rows = torch.full((2, -(-longest // block) * block), tokenizer.end_of_turn_token_id, device=device)
    for row, ids in zip(rows, texts, strict=True):
        row[: len(ids)] = torch.tensor(ids, device=device)
    return rows, torch.tensor([len(ids) for ids in texts], device=device)


def detect_shift(
    model: TransformersDenoiser,
    ids: Tensor,
    lengths: Tensor,
    *,
    maskable: Tensor | None = None,
    ratio: float = 0.3,
    seed: int = 0,
) -> ShiftFinding:
    """Compare masked cross-entropy under both shifts on real text: ids [B, L], lengths [B], maskable [B, L].

    Masks a ``ratio`` of the maskable tokens (default: all but each row's first). Raises ``ConfigError`` for an
    autoregressive model, whose shift is always ``right``, and when nothing can be masked.
    """
    if model.mask_token_id is None:
        raise ConfigError("detect_shift: an autoregressive model always predicts the next token")
    masked = _masked(ids, lengths, maskable, ratio=ratio, seed=seed)
    if not bool(masked.any()):
        raise ConfigError("detect_shift: no token was masked; give longer rows or a larger ratio")
    return _finding(model, _compare(model, ids, lengths, masked))


def _masked(ids: Tensor, lengths: Tensor, maskable: Tensor | None, *, ratio: float, seed: int) -> Tensor:
    """Choose a ``ratio`` of the tokens that are no row's first: [B, L]."""
    index = torch.arange(ids.shape[1], device=ids.device)
    allowed = (index[None] > 0) & (index[None] < lengths[:, None])
    chosen = torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)).to(ids.device) < ratio
    return chosen & (allowed if maskable is None else allowed & maskable)


@torch.no_grad()
def _compare(model: TransformersDenoiser, ids: Tensor, lengths: Tensor, masked: Tensor) -> Tensor:
    """Return row, cross-entropy without and with shift of every masked token: [N, 3] in float64."""
    noised = ids.masked_fill(masked, int(model.mask_token_id or 0))
    training = model.module.training
    model.module.eval()
    try:
        both = [_cross_entropy(model, shift, noised, ids, lengths, masked) for shift in ("none", "right")]
    finally:
        model.module.train(training)
    return torch.stack([masked.nonzero()[:, 0].double(), *both], dim=1)


def _cross_entropy(
    model: TransformersDenoiser, shift: Shift, noised: Tensor, ids: Tensor, lengths: Tensor, masked: Tensor
) -> Tensor:
    shifted = denoiser(model.network, model.tokenizer, replace(model.record, shift=shift))
    hidden = shifted.hidden(noised, ids, lengths)[masked]
    return -shifted.head().log_likelihood(hidden, ids[masked]).double()


def _finding(model: TransformersDenoiser, compared: Tensor) -> ShiftFinding:
    none, right = compared[:, 1], compared[:, 2]
    return ShiftFinding(
        none=float(none.mean()),
        right=float(right.mean()),
        configured=model.record.shift,
        error=float((none - right).std()) / math.sqrt(len(compared)),
        uniform=math.log(model.head().weight.shape[0]),
    )
