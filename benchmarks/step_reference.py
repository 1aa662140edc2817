"""A straightforward distillation step, written as one would from the paper: what ``step.py`` compares with.

Full float32 logits at every position of [x_t, x_0], a dense boolean mask through torch's attention, and chunk sums as a
product with an [L, C] matrix. Nothing is done to make it slow, nothing to make it fast.

Shapes: B rows, L tokens of a side, C chunks, V vocabulary columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, pad

from tide_specs import Batch, Noise, NoisedSide, Side


@dataclass(frozen=True)
class Example:
    """Padded rows of one side; all [B, L] but lengths [B]. ``chunk``: 0..C-1 of the batch, -1 outside."""

    ids: Tensor
    noised: Tensor
    masked: Tensor
    weight: Tensor
    chunk: Tensor
    lengths: Tensor

    def cut(self, document: Tensor, length: int) -> Example:
        """Take one document [L] bool of a packed row and pad it to ``length``."""
        kept = [tensor[:, document] for tensor in (self.ids, self.noised, self.masked, self.weight, self.chunk)]
        missing = max(0, length - int(document.sum()))
        fillers = (0, 0, False, 0.0, -1)
        padded = [pad(tensor, (0, missing), value=filler) for tensor, filler in zip(kept, fillers, strict=True)]
        return Example(*padded, lengths=document.sum()[None])


def examples(batch: Batch, noise: Noise, length: int) -> list[tuple[Example, Example]]:
    """(student, teacher) of each micro-batch: the batch as it is, or, when packed, each document padded by itself."""
    student = _example(batch.student, noise.student)
    teacher = _example(batch.teacher, noise.teacher)
    if batch.student.documents is None:
        return [(student, teacher)]
    found = []
    for document in range(int(batch.student.documents[0, batch.student.lengths[0] - 1]) + 1):
        sides = []
        for side, example in ((batch.student, student), (batch.teacher, teacher)):
            inside = (side.documents[0] == document) & (torch.arange(side.ids.shape[1]) < side.lengths[0])
            sides.append(example.cut(inside, length))
        found.append((sides[0], sides[1]))
    return found


def _example(side: Side, noised: NoisedSide) -> Example:
    return Example(side.ids, noised.noised, noised.masked, noised.weight, side.chunk, side.lengths)


def block_diffusion_mask(length: int, block: int, lengths: Tensor) -> Tensor:
    """[B, 1, 2L, 2L] bool over [x_t, x_0]; a padded position sees itself."""
    index = torch.arange(2 * length)
    noisy, number = index < length, index % length // block
    query, key = number[:, None], number[None]
    same = noisy[:, None] == noisy[None]
    diagonal = same & noisy[:, None] & (query == key)
    earlier = noisy[:, None] & ~noisy[None] & (key < query)
    clean = same & ~noisy[:, None] & (key <= query)
    valid = index % length < lengths[:, None]
    return (((diagonal | earlier | clean)[None] & valid[:, None]) | torch.eye(2 * length, dtype=torch.bool))[:, None]


def full_mask(length: int, lengths: Tensor) -> Tensor:
    """[B, 1, L, L] bool."""
    valid = torch.arange(length) < lengths[:, None]
    return (valid[:, None] | torch.eye(length, dtype=torch.bool))[:, None]


def chunk_matrix(example: Example, chunks: int) -> Tensor:
    """[B, L, C] float32: which masked token belongs to which chunk."""
    members = example.chunk[..., None] == torch.arange(chunks)
    return (members & example.masked[..., None]).float()


def chunk_probabilities(logits: Tensor, ids: Tensor, matrix: Tensor, temperature: float, clamp: float) -> Tensor:
    """Logits [B, L, V] -> p [C] = exp(sum of log p over the chunk / T), clamped as published."""
    token = log_softmax(logits, -1).gather(-1, ids[..., None])[..., 0]
    total = torch.einsum("bl,blc->c", token, matrix)
    return (total / temperature).exp().clamp(clamp, 1 - clamp)


def reference_loss(
    student: Any, teacher: Any, studied: Example, taught: Example, counts: Mapping[str, int], *, block: int, chunks: int
) -> Tensor:
    """Cross-entropy per maskable token plus reverse CALM (T = 2) per active chunk."""
    length = studied.ids.shape[1]
    both = torch.cat([studied.noised, studied.ids], 1)
    positions = torch.arange(length).repeat(2)[None].expand_as(both)
    mask = block_diffusion_mask(length, block, studied.lengths)
    logits = student(input_ids=both, attention_mask=mask, position_ids=positions, use_cache=False).logits
    logits = logits[:, :length].float()

    loss = cross_entropy(logits.flatten(0, 1), studied.ids.flatten(), reduction="none").view_as(studied.ids)
    loss = (loss * studied.weight).sum() / counts["maskable_tokens"]

    with torch.no_grad():
        mask = full_mask(taught.ids.shape[1], taught.lengths)
        answers = teacher(input_ids=taught.noised, attention_mask=mask, use_cache=False).logits.float()
        pt = chunk_probabilities(answers, taught.ids, chunk_matrix(taught, chunks), 2.0, 1e-7)
    matrix = chunk_matrix(studied, chunks)
    ps = chunk_probabilities(logits, studied.ids, matrix, 2.0, 1e-7)
    active = matrix.sum((0, 1)) > 0
    reverse = -(ps * pt.log() + (1 - ps) * (1 - pt).log())
    return loss + (reverse * active).sum() / counts["chunks"]
