"""One pass of a teacher over the texts of a report.

Shapes: B rows, L tokens, n tokens asked for in a batch, c chunks of it, C chunks of all texts, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tide_specs import ConfigError, Denoiser, Head, TextTokenizer

from .starts import Start, StartFigures, at_rows, context
from .tables import Progress, Tables
from .teacher_rows import Reading, Row, asked_chunks, teacher_rows
from .texts import Document

Floats = NDArray[np.float64]
LENGTH = 1_024
"""Most tokens of a row, unless the teacher was made for shorter ones."""
BATCH_TOKENS = 4_096
"""Most tokens of a forward pass, padding included."""
ELEMENTS = 1 << 23
"""Most numbers of one distribution per slice, on the side that has more columns."""


@dataclass(frozen=True, kw_only=True)
class ChunkAnswers:
    """What the teacher said of each chunk, NaN where it was not asked.

    log_likelihood [C]: of the chunk, in nats; starts [C, 7]: the figures of ``Start``, in its order.
    """

    log_likelihood: Floats
    starts: Floats

    def start(self, name: str) -> Floats:
        """One figure of ``Start`` [C]."""
        return self.starts[:, Start._fields.index(name)]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Chunks that it was asked about [C]."""
        return ~np.isnan(self.log_likelihood)


def reading_of(denoiser: Denoiser, chunks: int, masking: float, seed: int) -> Reading:
    """Say how a teacher reads the texts: causally, or with each chunk hidden with probability ``masking``.

    Raises ``ConfigError`` for a teacher that denoises and has no mask token.
    """
    length = min(LENGTH, denoiser.longest or LENGTH, denoiser.trained_length or LENGTH)
    length -= length % (denoiser.block_size or 1)
    if denoiser.form == "autoregressive":
        return Reading(length=length, hidden=None)
    if denoiser.mask_token_id is None:
        raise ConfigError(
            "the teacher denoises without a mask token, so that chunks cannot be hidden from it; name an autoregressive "
            "teacher, or one that fills in masked tokens"
        )
    hidden = np.random.default_rng(seed).random(chunks) < masking
    return Reading(length=length, hidden=hidden, mask_token_id=denoiser.mask_token_id)


@torch.inference_mode()
def ask(
    denoiser: Denoiser,
    documents: Sequence[Document],
    teacher: TextTokenizer,
    tables: Tables,
    reading: Reading,
    figures: StartFigures,
    progress: Progress | None = None,
) -> ChunkAnswers:
    """Let the teacher read every row once. ``progress`` is called with chunks done and in all."""
    count = len(tables.chunks.bytes)
    chunks = _Chunks.of(tables, count)
    likelihood, starts = np.full(count, np.nan), np.full((count, len(Start._fields)), np.nan)
    total, done = int(asked_chunks(tables, reading.hidden).sum()), 0
    for rows in _batches(teacher_rows(documents, teacher, tables, reading), denoiser.block_size or 1):
        number, found, measured = _batch(denoiser, rows, chunks, figures)
        likelihood[number], starts[number] = found, measured
        done += len(number)
        if progress is not None:
            progress(done, total)
    return ChunkAnswers(log_likelihood=likelihood, starts=starts)


@dataclass(frozen=True, kw_only=True)
class _Chunks:
    """Facts of every chunk [C] int64: the first student token, and its sizes."""

    first: Tensor
    sizes: dict[str, Tensor]

    @classmethod
    def of(cls, tables: Tables, count: int) -> _Chunks:
        inside = np.flatnonzero(tables.student.chunk >= 0)
        number, place = np.unique(tables.student.chunk[inside], return_index=True)
        first = np.zeros(count, np.int64)
        first[number] = tables.student.ids[inside[place]]
        sizes = {
            "student_tokens": tables.student.per_chunk(count),
            "teacher_tokens": tables.teacher.per_chunk(count),
            "bytes": tables.chunks.bytes,
            "relation": tables.chunks.relation,
        }
        return cls(
            first=torch.from_numpy(first), sizes={name: torch.from_numpy(value) for name, value in sizes.items()}
        )


def _batches(rows: Iterator[Row], multiple: int) -> Iterator[list[Row]]:
    """Group rows, in their order, until a padded batch would hold too many tokens."""
    group: list[Row] = []
    width = 0
    for row in rows:
        wider = max(width, -(-len(row.ids) // multiple) * multiple)
        if group and wider * (len(group) + 1) > BATCH_TOKENS:
            yield group
            group, wider = [], -(-len(row.ids) // multiple) * multiple
        group.append(row)
        width = wider
    if group:
        yield group


def _batch(
    denoiser: Denoiser, rows: Sequence[Row], chunks: _Chunks, figures: StartFigures
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Read one batch: numbers of its chunks [c], their log-likelihoods [c] and figures [c, 7]."""
    ids, noised, lengths = _padded(denoiser, rows)
    width = ids.shape[1]
    index = torch.from_numpy(np.concatenate([row.place + width * k for k, row in enumerate(rows)]))
    number, first, local = np.unique(
        np.concatenate([row.chunk for row in rows]), return_index=True, return_inverse=True
    )
    device = next(denoiser.module.parameters()).device
    hidden = denoiser.hidden(noised.to(device), ids.to(device), lengths.to(device))
    hidden, head = hidden.reshape(-1, hidden.shape[-1])[index.to(device)], denoiser.head()
    targets = ids.reshape(-1)[index].to(device)
    tokens = head.log_likelihood(hidden, targets)
    sums = tokens.new_zeros(len(number)).index_add_(0, torch.from_numpy(local).to(device), tokens)
    begin = torch.from_numpy(first).to(device)
    at = context(
        chunks.first[number].to(device),
        targets[begin],
        {name: value[number].to(device) for name, value in chunks.sizes.items()},
        sums,
    )
    parts = [
        torch.stack(figures.measure(head.logits(hidden[begin[part]]), at_rows(at, part)), 1)
        for part in _slices(head, len(number), figures.columns)
    ]
    return number, sums.double().cpu().numpy(), torch.cat(parts).double().cpu().numpy()


def _padded(denoiser: Denoiser, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor]:
    """Clean and noised ids [B, L] and lengths [B]; rows of a block form are filled with end-of-turn tokens."""
    multiple = denoiser.block_size or 1
    lengths = [-(-len(row.ids) // multiple) * multiple for row in rows]
    clean = np.full((len(rows), max(lengths)), denoiser.tokenizer.pad_token_id, np.int64)
    noised = clean.copy()
    for k, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        for side, ids in ((clean, row.ids), (noised, row.noised)):
            side[k, :length] = denoiser.tokenizer.end_of_turn_token_id
            side[k, : len(ids)] = ids
    return torch.from_numpy(clean), torch.from_numpy(noised), torch.tensor(lengths)


def _slices(head: Head, count: int, columns: int) -> Iterator[slice]:
    """Slices of chunk starts in which no side's distributions hold more than ``ELEMENTS`` numbers."""
    own = int(head.weight.shape[0])
    return head.slices(count, elements=ELEMENTS * own // max(own, columns))
