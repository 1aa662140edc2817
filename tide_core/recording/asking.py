"""Asking a teacher about everything that is missing in a cache, in batches noised exactly as training noises them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from tide_core.data import PreparedData
from tide_core.distillation import Distillation
from tide_core.draws import SampleDraws
from tide_core.feeder import joiners
from tide_core.micro_batch import MicroBatch
from tide_core.recording.answering import answer, records
from tide_core.teacher_cache import CacheIdentity, CacheWriter, Record
from tide_specs import Denoiser

Rows = NDArray[np.int64]
"""Indices of rows of the prepared data."""


@dataclass(frozen=True)
class Done:
    """How far the share of this process is: rows and student tokens, of how many, after how many seconds."""

    rows: int
    of_rows: int
    tokens: int
    of_tokens: int
    seconds: float


Report = Callable[[Done], None]


class Asker:
    """Asks the teacher, batch by batch, for what is missing; the next batch is noised while it answers.

    forwards: calls of the teacher; rows: samples, once per draw, that it answered in them.
    """

    def __init__(
        self,
        identity: CacheIdentity,
        module: Distillation,
        data: PreparedData,
        teacher: Denoiser,
        accelerator: Accelerator,
        *,
        lesson: int,
        batch_size: int,
        slice_elements: int,
    ) -> None:
        """Ask ``teacher``, number ``lesson`` of the run, about what ``module`` makes of ``data``."""
        self._identity, self._module, self._data = identity, module, data
        self._teacher, self._accelerator, self._lesson = teacher, accelerator, lesson
        self._batch_size, self._elements = batch_size, slice_elements
        self.forwards, self.rows = 0, 0
        self._joins = joiners(module)
        self._samples, self._lengths = data.samples(), data.lengths()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tide-cache")

    def fill(self, writer: CacheWriter, report: Report | None) -> None:
        """Answer everything that this process owns and nobody has answered."""
        work = [(draw, rows) for draw in range(self._identity.draws) for rows in self._batches(writer, draw)]
        of_rows, of_tokens = (sum(map(len, (rows for _, rows in work))), self._tokens([rows for _, rows in work]))
        tokens, started = 0, time.monotonic()
        for (draw, rows), (samples, prepared) in zip(work, self._noised(work), strict=True):
            for one in self._answered(samples, prepared):
                writer.add(draw, one)
            tokens += self._tokens([rows])
            if report is not None:
                report(Done(self.rows, of_rows, tokens, of_tokens, time.monotonic() - started))

    def _tokens(self, batches: Sequence[Rows]) -> int:
        return sum(int(self._lengths[rows].sum()) for rows in batches)

    def _batches(self, writer: CacheWriter, draw: int) -> Iterator[Rows]:
        """Indices of the rows that are missing, of like length together, longest first: what cannot fit fails at once."""
        missing = np.flatnonzero(np.isin(self._samples, writer.missing(draw, self._samples)))
        missing = missing[np.argsort(-self._lengths[missing], kind="stable")]
        for start in range(0, len(missing), self._batch_size):
            yield missing[start : start + self._batch_size]

    def _noised(self, work: Sequence[tuple[int, Rows]]) -> Iterator[tuple[torch.Tensor, MicroBatch]]:
        ahead = None
        for draw, rows in work:
            submitted = self._thread.submit(self._noise, draw, rows)
            if ahead is not None:
                yield ahead.result()
            ahead = submitted
        if ahead is not None:
            yield ahead.result()

    def _noise(self, draw: int, rows: Rows) -> tuple[torch.Tensor, MicroBatch]:
        count = len(rows)
        batches = [
            join(self._data.rows(rows, number), positions=range(count), effective_size=count)
            for number, join in enumerate(self._joins)
        ]
        samples = batches[0].samples
        draws = SampleDraws(seed=self._identity.seed, epoch=draw, samples=samples)
        return samples, self._module.noise(batches, draws, 0.0)[1]

    def _answered(self, samples: torch.Tensor, work: MicroBatch) -> Iterator[Record]:
        taught = work.taught[self._lesson]
        with self._accelerator.autocast():
            known = answer(self._teacher, taught.to(self._accelerator.device), self._identity.k, self._elements)
        self.forwards += 1
        self.rows += len(samples)
        yield from records(samples, taught, known.to("cpu"))

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(cancel_futures=True)
