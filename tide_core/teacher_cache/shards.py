"""One shard: records back to back in ``.bin``, and in ``.idx`` an entry for each that is known to be on the disk.

An entry is written after its record was synchronised. What lies before the end of the last entry is therefore durable,
and damage there is an error; what lies behind it may be torn by a kill or a power cut, and is cut off on resume.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tide_specs import DataError

from .directory import BUILD, synchronise, synchronise_directory
from .records import decode, length_at

Entries = NDArray[Any]
"""[n] of ``ENTRY``, in the order of the shard."""

ENTRY = np.dtype([("offset", "<i8"), ("sample", "<i8"), ("draw", "<u4"), ("bytes", "<u4"), ("check", "<u4")])
_NAME = re.compile(r"shard-(\d+)-(\d+)\.bin")


@dataclass(frozen=True, order=True)
class Shard:
    """The place of a shard: its writer, its number, its cache and the cache's ``k``."""

    writer: int
    number: int
    cache: Path
    k: int

    @property
    def records(self) -> Path:
        """The file of records."""
        return self.cache / f"shard-{self.writer}-{self.number}.bin"

    @property
    def index(self) -> Path:
        """The file of entries."""
        return self.records.with_suffix(".idx")


def shards_of(cache: Path, k: int) -> list[Shard]:
    """Return the shards of a cache, by writer and number."""
    names = [_NAME.fullmatch(path.name) for path in cache.glob("shard-*.bin")]
    return sorted(Shard(int(name[1]), int(name[2]), cache, k) for name in names if name)


def make_entries(rows: Sequence[tuple[int, int, int, int]]) -> Entries:
    """Return entries of (offset, sample, draw, bytes)."""
    found = np.zeros(len(rows), ENTRY)
    for place, row in enumerate(rows):
        found[place] = (*row, 0)
    found["check"] = _check(found)
    return found


def read_entries(shard: Shard) -> tuple[Entries, Entries]:
    """Return the durable entries of a shard, and those of the whole records behind them.

    Safe while another process appends to the shard. Raises ``DataError`` when durable records are missing.
    """
    durable = _durable(shard)
    end = end_of(durable)
    with shard.records.open("rb") as stream:
        size = stream.seek(0, 2)
        if size < end:
            raise DataError(cut_short(shard.records, size, end))
        stream.seek(end)
        return durable, make_entries(list(_whole(memoryview(stream.read()), end, shard.k)))


def end_of(entries: Entries) -> int:
    """Return where the last record ends."""
    return int(entries["offset"][-1]) + int(entries["bytes"][-1]) if len(entries) else 0


def cut_short(path: Path, size: int, expected: int) -> str:
    """Return the message for a shard that has lost its end."""
    return (
        f"cache {path.parent}: {path.name} is cut short, {size} of {expected} bytes; "
        f"delete {path.name} and run {BUILD} RUN.yaml again: its records are answered anew"
    )


def _durable(shard: Shard) -> Entries:
    """The entries of the index up to the first that is torn or does not follow on."""
    try:
        raw = shard.index.read_bytes()
    except FileNotFoundError:
        raw = b""
    entries = np.frombuffer(raw, ENTRY, len(raw) // ENTRY.itemsize)
    ends = np.cumsum(entries["bytes"], dtype=np.int64)
    good = (entries["check"] == _check(entries)) & (entries["offset"] == ends - entries["bytes"])
    return entries[: len(good) if good.all() else int(good.argmin())]


def _whole(tail: memoryview, start: int, k: int) -> Iterator[tuple[int, int, int, int]]:
    """The records of ``tail`` up to the first that is torn."""
    at = 0
    while (length := length_at(tail[at:], k)) is not None:
        found = decode(tail[at : at + length], k)
        if found is None:
            return
        draw, record = found
        yield start + at, record.sample, draw, length
        at += length


def _check(entries: Entries) -> NDArray[np.uint32]:
    """A checksum of each entry; that of zeros is not zero."""
    mixed = np.full(len(entries), 0x9E3779B97F4A7C15, np.uint64)
    for field in ("offset", "sample", "draw", "bytes"):
        mixed = (mixed ^ entries[field].astype(np.uint64)) * np.uint64(0xD6E8FEB86659FD93)
        mixed ^= mixed >> np.uint64(32)
    return mixed.astype(np.uint32)


class ShardFile:
    """A shard that is being written. One process at a time has it open."""

    def __init__(self, shard: Shard) -> None:
        """Open a shard, a new one or what a killed process left: a torn end is cut off, whole records are kept."""
        self.shard = shard
        new = not shard.records.exists()
        if new:
            shard.index.unlink(missing_ok=True)  # of a shard that was deleted because it was damaged
        self._records = shard.records.open("ab", buffering=0)
        self._index = shard.index.open("ab", buffering=0)
        durable, behind = read_entries(shard)
        self.size = end_of(behind) or end_of(durable)
        self._records.truncate(self.size)
        self._index.truncate(len(durable) * ENTRY.itemsize)
        if len(behind):
            synchronise(self._records)
            self._note(behind)
        if new:
            synchronise_directory(shard.cache)

    def append(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Write records given as (draw, sample, bytes); they are on the disk when this returns.

        Passes on ``OSError``, and has then cut off what was written in part.
        """
        entries: list[tuple[int, int, int, int]] = []
        at = self.size
        for draw, sample, record in rows:
            entries.append((at, sample, draw, len(record)))
            at += len(record)
        try:
            _write(self._records, b"".join(record for _, _, record in rows))
            synchronise(self._records)
        except OSError:
            self._records.truncate(self.size)
            raise
        self.size = at
        self._note(make_entries(entries))

    def _note(self, entries: Entries) -> None:
        _write(self._index, entries.tobytes())
        synchronise(self._index)

    def close(self) -> None:
        """Close the files."""
        self._records.close()
        self._index.close()


def _write(stream: BinaryIO | Any, data: bytes) -> None:
    """Write all of ``data`` to an unbuffered file, which may take less at once."""
    rest = memoryview(data)
    while len(rest):
        rest = rest[stream.write(rest) :]
