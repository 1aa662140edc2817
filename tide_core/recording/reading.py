"""The teacher of a run that learns from a cache.

Shapes: B rows, M teacher positions, k cached tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tide_core.blame import Describe, blame
from tide_core.micro_batch import KnownAnswers, TeacherRows
from tide_core.recording.identity import noise_draws, run_identity
from tide_core.recording.needs import needed_top_k
from tide_core.recording.rows import by_sample
from tide_core.run_schema import RunConfig
from tide_core.teacher_cache import Record, TeacherCache
from tide_specs import Batch, TextTokenizer

if TYPE_CHECKING:
    from tide_core.assembly import Tokenizers
    from tide_core.data import PreparedData


class CachedTeacher:
    """Implements ``RecordedTeacher`` with a cache that was built for this run's data and noise."""

    def __init__(self, cache: TeacherCache, tokenizer: TextTokenizer) -> None:
        facts = cache.config["teacher"]
        self.cache = cache
        self.tokenizer = tokenizer
        self.block_size: int | None = facts["block_size"]
        self.columns: int = facts["columns"]

    def answers(self, batch: Batch, epochs: Sequence[int], rows: TeacherRows) -> KnownAnswers:
        """Return what the cache knows of the M teacher positions of a noised batch.

        Raises ``DataError`` when a record is damaged, or was made under another mask than the batch has.
        """
        assert batch.teacher is not None
        sorted_rows = by_sample(rows, batch.teacher)
        records = self._records(batch.samples.tolist(), epochs, sorted_rows.masks)
        place = torch.empty_like(sorted_rows.order)
        place[sorted_rows.order] = torch.arange(len(place))

        def joined(field: str) -> Tensor:
            return torch.from_numpy(np.concatenate([getattr(record, field) for record in records]))[place]

        if not self.cache.identity.k:
            return KnownAnswers(likelihood=joined("likelihood"))
        return KnownAnswers(
            likelihood=joined("likelihood"),
            ids=joined("ids").long(),
            log_p=joined("log_p"),
            rest=joined("rest"),
        )

    def _records(self, samples: Sequence[int], epochs: Sequence[int], masks: Sequence[bytes]) -> list[Record]:
        """The records of the rows, in their order; a batch may straddle two draws."""
        found: dict[int, Record] = {}
        for draw in dict.fromkeys(epochs):
            places = [place for place, epoch in enumerate(epochs) if epoch == draw]
            read = self.cache.read(draw, [samples[place] for place in places], [masks[place] for place in places])
            found.update(zip(places, read, strict=True))
        return [found[place] for place in range(len(samples))]


def cached_teachers(
    config: RunConfig, tokenizers: Sequence[Tokenizers], data: PreparedData, describe: Describe
) -> list[CachedTeacher | None]:
    """Open the cache of each teacher of a run that has one, ``None`` for the others, before any model loads.

    Raises ``ConfigError`` that names everything in which a cache differs from what the run needs, ``DataError`` for a
    cache that is unfinished or damaged.
    """
    draws = noise_draws(config)
    return [
        _cached_teacher(config, number, tokenizers, data, draws, describe) for number in range(len(config.lessons()))
    ]


def _cached_teacher(
    config: RunConfig,
    lesson: int,
    tokenizers: Sequence[Tokenizers],
    data: PreparedData,
    draws: int | None,
    describe: Describe,
) -> CachedTeacher | None:
    view, tokenizer = config.lessons()[lesson], tokenizers[lesson].teacher
    assert view.teacher is not None and tokenizer is not None
    if view.teacher.cache_path is None:
        return None
    with blame(view.teacher, "while its cache was opened", describe):
        cache = TeacherCache(Path(view.teacher.cache_path))
        wanted = run_identity(
            config,
            lesson,
            tokenizers,
            data,
            teacher=cache.identity.teacher,
            draws=draws or cache.identity.draws,
            top_k=needed_top_k(view),
        )
        if 0 < wanted.k < cache.identity.k:
            wanted = replace(wanted, k=cache.identity.k)  # it holds more than the losses read
        cache.require(wanted)
    return CachedTeacher(cache, tokenizer)
