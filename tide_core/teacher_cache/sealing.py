"""``seal``: every expected record is there exactly once, and one sorted index says where."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tide_specs import DataError

from .directory import BUILD, FORMAT, INDEX, SEAL, Manifest, read_manifest, unwritable, write_json, write_whole
from .locks import all_writers
from .shards import Entries, Shard, ShardFile, read_entries, shards_of

DRAW, SAMPLE, SHARD, OFFSET, BYTES = range(5)
"""The rows of the index, an int64 array [5, records] sorted by draw and sample."""

_NAMED = 5  # how many samples a message names


def seal(path: Path, samples: NDArray[np.int64] | Sequence[int]) -> None:
    """Finish a cache, or finish it again. samples: the ids of all samples, in any order.

    Raises ``DataError`` when a process still writes, when records are missing, doubled or not expected (it names them),
    or when the disk refuses; the records stay as they are.
    """
    manifest = read_manifest(path)
    try:
        with all_writers(path):
            (path / SEAL).unlink(missing_ok=True)
            shards = shards_of(path, manifest.identity.k)
            for shard in shards:
                ShardFile(shard).close()  # cuts off what a killed writer left torn
            index = _merged(shards)
            _require_complete(path, manifest, index, np.unique(np.asarray(samples, np.int64)))
            _write(path, index, shards)
    except OSError as error:
        raise unwritable(path, INDEX, error) from error


def count_records(path: Path, k: int) -> int:
    """Return how many whole records there are."""
    return sum(len(part) for shard in shards_of(path, k) for part in read_entries(shard))


def _merged(shards: Sequence[Shard]) -> NDArray[np.int64]:
    parts = [_rows(number, read_entries(shard)[0]) for number, shard in enumerate(shards)]
    index = np.concatenate([np.zeros((5, 0), np.int64), *parts], axis=1)
    return index[:, np.lexsort((index[SAMPLE], index[DRAW]))]


def _rows(shard: int, entries: Entries) -> NDArray[np.int64]:
    columns = [entries["draw"], entries["sample"], np.full(len(entries), shard), entries["offset"], entries["bytes"]]
    return np.stack([column.astype(np.int64) for column in columns])


def _require_complete(path: Path, manifest: Manifest, index: NDArray[np.int64], samples: NDArray[np.int64]) -> None:
    identity = manifest.identity
    if len(samples) != identity.samples:
        raise ValueError(f"{len(samples)} samples, the cache was begun for {identity.samples}")
    missing, doubled, other = [], [], []
    for draw in range(identity.draws):
        found, counts = np.unique(index[SAMPLE, index[DRAW] == draw], return_counts=True)
        missing += _named(draw, np.setdiff1d(samples, found))
        doubled += _named(draw, found[counts > 1])
        other += _named(draw, np.setdiff1d(found, samples))
    if doubled or other:
        faults = "; ".join([f"doubled: {one}" for one in doubled] + [f"not expected: {one}" for one in other])
        raise DataError(f"cache {path}: {faults}; delete it and build it again with {BUILD} RUN.yaml")
    if missing:
        there = f"{index.shape[1]} of {identity.records} records"
        raise DataError(
            f"cache {path}: not finished, {there}; missing: {'; '.join(missing)}; "
            f"finish it with {BUILD} RUN.yaml, which goes on where it stopped"
        )


def _named(draw: int, samples: NDArray[np.int64]) -> list[str]:
    if not len(samples):
        return []
    more = f" and {len(samples) - _NAMED} more" if len(samples) > _NAMED else ""
    return [f"draw {draw}, samples {', '.join(map(str, samples[:_NAMED].tolist()))}{more}"]


def _write(path: Path, index: NDArray[np.int64], shards: Sequence[Shard]) -> None:
    stream = io.BytesIO()
    np.save(stream, index)
    write_whole(path / INDEX, [stream.getbuffer()])
    facts = {
        "format": FORMAT,
        "records": index.shape[1],
        "index_crc32": zlib.crc32(stream.getbuffer()),
        "shards": [{"name": s.records.name, "bytes": s.records.stat().st_size} for s in shards],
    }
    write_json(path / SEAL, facts)
