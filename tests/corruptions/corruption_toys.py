"""Batches, tokenizers and draws for the tests of corruptions and teacher views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tide_specs import Batch, EncodedExample, Example, Message, Side, TextTokenizer

MASK = 99


class ToyTokenizer(TextTokenizer):
    """Ids 0..9 are text, 10..19 special; only what corruptions read is real."""

    vocabulary_size = 20
    pad_token_id = 10
    end_of_turn_token_id = 11

    def __init__(self, mask_token_id: int | None = MASK) -> None:
        self.mask_token_id = mask_token_id

    def token_bytes(self) -> Sequence[bytes | None]:
        return [b"%d" % i for i in range(10)] + [None] * 10

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


@dataclass(frozen=True)
class RowDraws:
    """Numbers that depend on (seed, sample, purpose) alone."""

    seed: int
    rows: Sequence[int]

    def uniform(self, purpose: str, length: int) -> Tensor:
        def row(sample: int) -> np.ndarray:
            return np.random.default_rng([self.seed, sample, *purpose.encode()]).random(length)

        return torch.from_numpy(np.stack([row(sample) for sample in self.rows]))


def side(chunk: Tensor, maskable: Tensor, seed: int = 0) -> Side:
    ids = torch.randint(0, 10, chunk.shape, generator=torch.Generator().manual_seed(seed))
    return Side(ids=ids, maskable=maskable, lengths=torch.full((len(ids),), chunk.shape[1]), chunk=chunk)


def layout(sizes: Sequence[Sequence[int]], length: int, prompt: int) -> Tensor:
    """Chunk ids [B, length], global over the batch: row b has chunks of ``sizes[b]`` tokens after ``prompt`` tokens."""
    chunk, number = torch.full((len(sizes), length), -1), 0
    for b, row in enumerate(sizes):
        at = prompt
        for size in row:
            chunk[b, at : at + size] = number
            at, number = at + size, number + 1
    return chunk


def batch(
    student: Sequence[Sequence[int]], teacher: Sequence[Sequence[int]], *, lengths: tuple[int, int] = (12, 15)
) -> Batch:
    """Two sides with chunks of the given sizes; student tokens after the prompt are maskable, chunked or not."""
    chunk = layout(student, lengths[0], 2)
    other = layout(teacher, lengths[1], 4)
    maskable = torch.zeros_like(chunk, dtype=torch.bool)
    maskable[:, 2:] = True
    count = sum(len(row) for row in student)
    return Batch(
        student=side(chunk, maskable),
        teacher=side(other, other >= 0, seed=1),
        chunk_bytes=torch.ones(count, dtype=torch.int64),
        chunk_relation=torch.zeros(count, dtype=torch.int64),
        samples=torch.arange(len(student)),
        positions=torch.arange(len(student)),
    )
