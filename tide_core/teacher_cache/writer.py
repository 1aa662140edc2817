"""Writing a cache: each of several processes fills shards of its own, and goes on where a killed one stopped."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from tide_specs import DataError

from .directory import SEAL, read_manifest, unwritable
from .locks import lock_writer
from .records import Record, encode
from .shards import Shard, ShardFile, read_entries, shards_of

Samples = NDArray[np.int64]

BUFFER_BYTES = 8 << 20
FLUSH_SECONDS = 10.0
SHARD_BYTES = 1 << 30


class CacheWriter:
    """Writer number ``writer`` of ``writers``: it owns the samples whose id leaves this remainder.

    Records reach the disk in groups: when ``BUFFER_BYTES`` or ``FLUSH_SECONDS`` are passed, and on ``flush`` and
    ``close``. A kill loses the group that was not yet written, and nothing else; its samples are ``missing`` again. A
    cache may be resumed with another number of writers.
    """

    def __init__(self, path: Path, *, writer: int = 0, writers: int = 1) -> None:
        """Open the cache at ``path``.

        Raises ``ConfigError`` when it is none, ``DataError`` when it is damaged, cannot be written, or another process
        writes it under the same number.
        """
        self.path = path
        self._identity = read_manifest(path).identity
        self._writer, self._writers = writer, writers
        try:
            self._lock = lock_writer(path, writer, writers)
        except OSError as error:
            raise unwritable(path, "a lock", error) from error
        self._waiting: list[tuple[int, int, bytes]] = []
        self._waiting_bytes = 0
        self._flushed_at = time.monotonic()
        self._file: ShardFile | None = None
        try:
            self._file = self._resume()
            self._known = _known(path, self._identity.k)
        except BaseException:
            self.close()
            raise
        self._added: dict[int, set[int]] = defaultdict(set)

    def missing(self, draw: int, samples: Samples | Sequence[int]) -> Samples:
        """Return those of ``samples`` that this writer owns and nobody has answered, in the given order."""
        asked = np.asarray(samples, np.int64)
        asked = asked[asked % self._writers == self._writer]
        return asked[~self._there(draw, asked)]

    def add(self, draw: int, record: Record) -> None:
        """Take in a record of draw 0 to K - 1.

        Raises ``ValueError`` for a record that is not this writer's, that is there already or that has the wrong shapes;
        ``DataError`` when an answer is not a number, and when the disk refuses: what was flushed before is then safe,
        this writer must be closed, and another one resumes.
        """
        if self._file is None:
            raise ValueError("the writer is closed")
        self._require_expected(draw, record.sample)
        encoded = encode(draw, record, self._identity.k)
        self._added[draw].add(record.sample)
        self._waiting.append((draw, record.sample, encoded))
        self._waiting_bytes += len(encoded)
        if self._waiting_bytes >= BUFFER_BYTES or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Have everything added so far on the disk before this returns. Raises ``DataError`` when the disk refuses."""
        self._flushed_at = time.monotonic()
        if self._file is None or not self._waiting:
            return
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        name = "a shard"
        try:
            (self.path / SEAL).unlink(missing_ok=True)  # what it says is no longer so
            file = self._room(self._file)
            name = file.shard.records.name
            file.append(waiting)
        except OSError as error:
            self._abandon()  # what was lost counts as added here; only a new writer knows what is there
            raise unwritable(self.path, name, error, "the records flushed before are safe; ") from error

    def close(self) -> None:
        """Flush, and let others write under this number."""
        try:
            if self._file is not None:
                self.flush()
        finally:
            self._abandon()

    def _abandon(self) -> None:
        self._waiting.clear()
        if self._file is not None:
            self._file.close()
        self._file = None
        self._lock.release()

    def _require_expected(self, draw: int, sample: int) -> None:
        if not 0 <= draw < self._identity.draws:
            raise ValueError(f"draw {draw} of {self._identity.draws}")
        if sample % self._writers != self._writer:
            raise ValueError(f"sample {sample} is not of writer {self._writer} of {self._writers}")
        if self._there(draw, np.array([sample], np.int64)).any():
            raise ValueError(f"draw {draw}, sample {sample}: is there already")

    def _there(self, draw: int, asked: Samples) -> NDArray[np.bool_]:
        added = self._added.get(draw, set())
        there = np.fromiter((sample in added for sample in asked.tolist()), np.bool_, len(asked))
        known = self._known.get(draw)
        if known is None:
            return there
        places = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        return there | (known[places] == asked)

    def _resume(self) -> ShardFile:
        """Repair every shard of this writer; return the last one, open."""
        own = [shard for shard in shards_of(self.path, self._identity.k) if shard.writer == self._writer]
        try:
            for shard in own[:-1]:
                ShardFile(shard).close()
            return ShardFile(own[-1] if own else self._shard(0))
        except OSError as error:
            raise unwritable(self.path, "a shard", error) from error

    def _room(self, file: ShardFile) -> ShardFile:
        """The shard to go on with: this one, or a new one when it is full."""
        if file.size < SHARD_BYTES:
            return file
        self._file = ShardFile(self._shard(file.shard.number + 1))
        file.close()
        return self._file

    def _shard(self, number: int) -> Shard:
        return Shard(self._writer, number, self.path, self._identity.k)

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close; an error on the way out stays the one that is seen, and does not lose what was added before it."""
        if error is None:
            self.close()
            return
        try:
            self.close()
        except DataError as second:
            error.add_note(str(second))


def _known(path: Path, k: int) -> dict[int, Samples]:
    """The samples that are there, sorted, by draw."""
    entries = [part for shard in shards_of(path, k) for part in read_entries(shard)]
    if not entries:
        return {}
    draws = np.concatenate([part["draw"] for part in entries])
    samples = np.concatenate([part["sample"] for part in entries])
    return {int(draw): np.sort(samples[draws == draw]) for draw in np.unique(draws)}
