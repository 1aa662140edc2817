"""Vocabularies without files, and the context of chunk starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tide_specs import EncodedExample, Example, Message, StartContext, TextTokenizer


class Vocabulary(TextTokenizer):
    """Only what ``columns`` and ``bridge`` read."""

    def __init__(self, pieces: Sequence[bytes | None], end_of_turn: int = 0, mask: int | None = None) -> None:
        self.pieces = pieces
        self.vocabulary_size, self.end_of_turn_token_id = len(pieces), end_of_turn
        self.mask_token_id, self.pad_token_id = mask, 0

    def token_bytes(self) -> Sequence[bytes | None]:
        return self.pieces

    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        raise NotImplementedError

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        raise NotImplementedError

    def decode(self, ids: Sequence[int]) -> str:
        raise NotImplementedError

    def fingerprint(self) -> str:
        raise NotImplementedError

    def save(self, path: str) -> None:
        raise NotImplementedError


def starts(count: int, dtype: torch.dtype = torch.float64, **given: Any) -> StartContext:
    """Chunks of one token on each side; ``given`` replaces fields."""
    one, zero = torch.ones(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
    half = torch.full((count,), 0.5, dtype=dtype)
    values: dict[str, Any] = {
        "t": half,
        "schedule_weight": half,
        "interpolation": half,
        "student_tokens": one,
        "teacher_tokens": one,
        "bytes": one,
        "relation": zero,
        "progress": 0.3,
        "targets": zero,
        "teacher_targets": zero,
        "teacher_log_likelihood": -half,
    }
    return StartContext(**(values | given))


def logits(rows: int, columns: int, seed: int, spread: float = 2.0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * spread


def probabilities(rows: int, columns: int, seed: int, spread: float = 2.0) -> Tensor:
    """Teacher probabilities [c, V_T + 1], nothing in the last column."""
    shares = logits(rows, columns, seed, spread).softmax(1)
    return torch.cat([shares, shares.new_zeros(rows, 1)], 1)
