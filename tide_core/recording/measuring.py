"""How large a cache is, finished or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tide_core.teacher_cache.directory import SEAL, read_json, read_manifest
from tide_core.teacher_cache.records import size_of
from tide_core.teacher_cache.shards import read_entries, shards_of

GROWING = frozenset({".bin", ".idx", ".npy"})
"""Endings of records, of their entries and of the index."""


@dataclass(frozen=True)
class Measure:
    """records and tokens: answered so far; bytes: of all files; expected: records of the finished cache.

    growing: bytes of the files that grow with the records, which the tokenizer does not.
    """

    records: int
    expected: int
    tokens: int
    bytes: int
    growing: int
    finished: bool

    @property
    def bytes_per_token(self) -> float:
        """Bytes of the files that grow over answered tokens; 0 where there are none."""
        return self.growing / self.tokens if self.tokens else 0.0


def measure(path: Path) -> Measure:
    """Measure the cache at ``path``. Raises ``ConfigError`` when it is none, ``DataError`` when it is damaged."""
    identity = read_manifest(path).identity
    empty, each = size_of(0, identity.k), size_of(1, identity.k) - size_of(0, identity.k)
    parts = [part for shard in shards_of(path, identity.k) for part in read_entries(shard)]
    records, data = sum(map(len, parts)), sum(int(part["bytes"].sum()) for part in parts)
    return Measure(
        records=records,
        expected=identity.records,
        tokens=(data - records * empty) // each,
        bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        growing=sum(file.stat().st_size for file in path.iterdir() if file.suffix in GROWING),
        finished=read_json(path, SEAL) is not None,
    )
