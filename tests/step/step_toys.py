"""A denoiser small enough to think about, and batches for it. Shapes: B rows, L tokens, H hidden size, V vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tide_core.joint_units import joint_units
from tide_core.micro_batch import MicroBatch, Teaching
from tide_core.micro_batch_building import build_micro_batch
from tide_specs import (
    Batch,
    Denoiser,
    Draws,
    Head,
    Noise,
    NoisedSide,
    NoiseSchedule,
    SharedColumns,
    Side,
    TeacherPass,
)


class TokenModel(nn.Module):
    """Every position sees the mean of all embeddings and its own."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.mix = nn.Linear(2 * hidden, hidden)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        own = self.embedding(ids)
        return torch.tanh(self.mix(torch.cat([own, own.mean(1, keepdim=True).expand_as(own)], -1)))


class ToyDenoiser(Denoiser):
    """A bidirectional denoiser around ``TokenModel``."""

    form = "bidirectional"

    def __init__(self, vocabulary: int = 11, hidden: int = 6, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.module = TokenModel(vocabulary, hidden)
        self.mask_token_id = vocabulary - 1
        self.tokenizer = None  # type: ignore[assignment]

    def hidden(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        return self.module(noised)

    def head(self) -> Head:
        return Head(self.module.head.weight, self.module.head.bias)

    def save(self, path: str) -> None:
        raise NotImplementedError


def toy_batch(rows: int = 3, length: int = 8, vocabulary: int = 10, seed: int = 0) -> Batch:
    """Student chunks of one or two tokens, teacher chunks of one or two; position 0 is markup."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = _side(rows, length, vocabulary, generator), _side(rows, length, vocabulary, generator)
    shared = torch.zeros(rows, length, dtype=torch.int64)
    offset = 0
    sides = []
    for side, spans in ((student, (1, 2, 1, 1, 2)), (teacher, (2, 1, 1, 2, 1))):
        chunk = torch.full_like(shared, -1)
        for row in range(rows):
            place = 1
            for number, span in enumerate(spans):
                chunk[row, place : place + span] = row * len(spans) + number
                place += span
        sides.append(Side(ids=side.ids, maskable=side.maskable, lengths=side.lengths, chunk=chunk))
        offset = rows * len(spans)
    return Batch(
        student=sides[0],
        teacher=sides[1],
        chunk_bytes=torch.randint(1, 6, (offset,), generator=generator),
        chunk_relation=torch.zeros(offset, dtype=torch.int64),
        samples=torch.arange(rows),
        positions=torch.arange(rows),
        effective_size=rows,
    )


def _side(rows: int, length: int, vocabulary: int, generator: torch.Generator) -> Side:
    maskable = torch.ones(rows, length, dtype=torch.bool)
    maskable[:, 0] = False
    return Side(
        ids=torch.randint(0, vocabulary, (rows, length), generator=generator),
        maskable=maskable,
        lengths=torch.full((rows,), length),
        chunk=torch.full((rows, length), -1),
    )


def toy_noise(batch: Batch, schedule: NoiseSchedule, draws: Draws, mask: int, rate: float = 0.6) -> Noise:
    """Hide whole chunks (and single unaligned tokens) at a fixed rate."""
    hidden = draws.uniform("chunks", batch.chunks + 1)[0] < rate
    hidden[-1] = False
    single = draws.uniform("single", batch.student.ids.shape[1]) < rate
    t = torch.full(batch.student.ids.shape, rate)
    sides = []
    for side, loose in ((batch.student, single), (batch.teacher, torch.zeros_like(single))):
        masked = side.maskable & torch.where(side.chunk >= 0, hidden[side.chunk], loose)
        weight = torch.where(masked, 1 / max(rate, 0.01), 0.0)
        sides.append(NoisedSide(noised=torch.where(masked, mask, side.ids), masked=masked, weight=weight))
    return Noise(t=t, student=sides[0], teacher=sides[1])


def micro_batch(batch: Batch, noise: Noise, columns: SharedColumns | None, spans=None) -> MicroBatch:
    """The work of a batch whose teacher answers everything in one pass."""
    passes = [TeacherPass(masked=noise.teacher.masked, counts=noise.teacher.masked)]
    teaching = Teaching(batch=batch, noise=noise, passes=passes, columns=columns, unit=joint_units([batch]))
    return build_micro_batch(batch, noise, [teaching], spans)
