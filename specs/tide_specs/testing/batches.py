"""Batches and random numbers for checks, made by plain means.

Shapes: B rows, L tokens of a side (padded), C chunks of the batch.
"""

# torch's and numpy's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tide_specs.batch import Batch, Side
from tide_specs.text import EncodedExample, Example, TextTokenizer

from .plain_alignment import PlainAlignment


@dataclass(frozen=True)
class SeededDraws:
    """Implements ``tide_specs.Draws``: numbers that depend on seed, sample and purpose alone."""

    samples: tuple[int, ...]
    seed: int = 0

    def uniform(self, purpose: str, length: int) -> Tensor:
        """Return [B, length] float64 in [0, 1)."""
        tag = zlib.crc32(purpose.encode())
        rows = [np.random.default_rng([self.seed, tag, sample]).random(length) for sample in self.samples]
        return torch.from_numpy(np.stack(rows) if rows else np.zeros((0, length)))


def draws_for(batch: Batch, seed: int = 0) -> SeededDraws:
    """Return the draws of a batch."""
    samples: Any = batch.samples.tolist()
    return SeededDraws(tuple(samples), seed)


def make_batch(
    examples: Sequence[Example],
    student: TextTokenizer,
    teacher: TextTokenizer | None = None,
    *,
    multiple: int = 1,
    first_sample: int = 0,
) -> Batch:
    """Encode, align and pad examples; ``multiple``: of the student's padded length."""
    ours = student.encode(examples)
    theirs = ours if teacher is None else teacher.encode(examples)
    left: list[Any] = []
    right: list[Any] = []
    sizes: list[int] = []
    relations: list[int] = []
    for a, b in zip(ours, theirs, strict=True):
        pair = PlainAlignment().align(a, b)
        kept = _countable(pair.student, a) & _countable(pair.teacher, b) if teacher is not None else set[int]()
        number = {chunk: len(sizes) + rank for rank, chunk in enumerate(sorted(kept))}
        left.append([number.get(chunk, -1) for chunk in pair.student.tolist()])
        right.append([number.get(chunk, -1) for chunk in pair.teacher.tolist()])
        sizes.extend(int(pair.bytes[chunk]) for chunk in sorted(kept))
        relations.extend(int(pair.relation[chunk]) for chunk in sorted(kept))
    count = len(examples)
    return Batch(
        student=_side(ours, left, student.pad_token_id, multiple),
        teacher=None if teacher is None else _side(theirs, right, teacher.pad_token_id, 1),
        chunk_bytes=torch.tensor(sizes, dtype=torch.int64),
        chunk_relation=torch.tensor(relations, dtype=torch.int64),
        samples=torch.arange(first_sample, first_sample + count),
        positions=torch.arange(count),
        effective_size=max(1, count),
    )


def _countable(chunk: Any, encoded: EncodedExample) -> set[int]:
    """The chunks whose tokens are all trainable."""
    return set(chunk[chunk >= 0].tolist()) - set(chunk[(chunk >= 0) & ~encoded.trainable].tolist())


def _side(encoded: Sequence[EncodedExample], chunks: list[Any], pad: int, multiple: int) -> Side:
    lengths = [len(example.ids) for example in encoded]
    longest = -(-max(lengths, default=0) // multiple) * multiple
    ids = torch.full((len(encoded), longest), pad)
    maskable = torch.zeros(len(encoded), longest, dtype=torch.bool)
    chunk = torch.full((len(encoded), longest), -1)
    for row, example in enumerate(encoded):
        ids[row, : lengths[row]] = torch.from_numpy(example.ids.astype(np.int64))
        maskable[row, : lengths[row]] = torch.from_numpy(example.trainable)
        chunk[row, : lengths[row]] = torch.tensor(chunks[row], dtype=torch.int64)
    return Side(ids=ids, maskable=maskable, lengths=torch.tensor(lengths), chunk=chunk)
