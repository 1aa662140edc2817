"""Reading a finished cache: memory-mapped, by draw and sample, every record checked on every read."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tide_specs import DataError

from .directory import BUILD, INDEX, SEAL, TOKENIZER, read_json, read_manifest, require
from .identity import CacheIdentity
from .records import Record, decode
from .sealing import DRAW, SAMPLE, count_records
from .shards import cut_short

Samples = NDArray[np.int64] | Sequence[int]

_AT_ONCE = 1024  # records that ``verify`` reads between two reports


class TeacherCache:
    """A finished cache, opened for reading by any number of processes.

    identity, config: what it was built from; tokenizer: the directory of the teacher's tokenizer.
    """

    def __init__(self, path: Path) -> None:
        """Open the cache at ``path``.

        Raises ``ConfigError`` when it is none; ``DataError`` when it is not finished, of another format, or damaged.
        """
        manifest = read_manifest(path)
        self.path = path
        self.identity: CacheIdentity = manifest.identity
        self.config: Mapping[str, Any] = manifest.config
        self.tokenizer = path / TOKENIZER
        sealed = read_json(path, SEAL)
        if sealed is None:
            raise self._error(
                f"not finished, {count_records(path, self.identity.k)} of {self.identity.records} records; "
                f"finish it with {BUILD} RUN.yaml, which goes on where it stopped"
            )
        self._index = self._open_index(int(sealed["index_crc32"]))
        self._names = [str(shard["name"]) for shard in sealed["shards"]]
        self._shards = [self._open_shard(str(shard["name"]), int(shard["bytes"])) for shard in sealed["shards"]]
        self._starts = np.searchsorted(self._index[DRAW], np.arange(self.identity.draws + 1)).tolist()

    def __len__(self) -> int:
        """Return the number of records."""
        return self._index.shape[1]

    def require(self, wanted: CacheIdentity, *, run_file: str = "RUN.yaml") -> None:
        """Raise ``ConfigError`` with one line for everything in which this cache differs from what a run needs."""
        require(self.path, self.identity, wanted, run_file=run_file)

    def read(self, draw: int, samples: Samples, masks: Sequence[bytes] | None = None) -> list[Record]:
        """Return the records of ``samples`` under draw 0 to K - 1, in the given order; their arrays are views.

        masks: digests of the noisings that the caller made; the teacher must have answered under the same.

        Raises ``DataError`` for a sample that is not in the cache, a record that is damaged, and another mask.
        """
        records = [self._record(draw, place) for place in self._places(draw, samples)]
        if masks is not None:
            for record, mask in zip(records, masks, strict=True):
                if record.mask != mask:
                    raise self._error(
                        f"draw {draw}, sample {record.sample}: the teacher answered under another mask than this run "
                        f"draws; rebuild it with {BUILD} RUN.yaml"
                    )
        return records

    def verify(self) -> Iterator[int]:
        """Read every record, and yield how many are done. Raises ``DataError`` at the first that is damaged."""
        for draw, (start, end) in enumerate(pairwise(self._starts)):
            for first in range(start, end, _AT_ONCE):
                last = min(first + _AT_ONCE, end)
                self.read(draw, self._index[SAMPLE, first:last])
                yield last

    def _places(self, draw: int, samples: Samples) -> list[tuple[int, ...]]:
        """(sample, shard, offset, bytes) of each sample."""
        if not 0 <= draw < self.identity.draws:
            raise IndexError(f"draw {draw} of {self.identity.draws}")
        asked = np.asarray(samples, np.int64)
        start, end = self._starts[draw], self._starts[draw + 1]
        rows = start + np.searchsorted(self._index[SAMPLE, start:end], asked)
        found = self._index[SAMPLE:, np.minimum(rows, end - 1)] if end > start else np.full((4, len(asked)), -1)
        absent = (found[0] != asked) | (rows >= end)
        if absent.any():
            raise self._error(
                f"draw {draw}: has no sample {asked[absent.argmax()]}; it was built from other data, "
                f"rebuild it with {BUILD} RUN.yaml"
            )
        return list(zip(*found.tolist(), strict=True))

    def _record(self, draw: int, place: tuple[int, ...]) -> Record:
        sample, shard, offset, size = place
        found = decode(self._shards[shard][offset : offset + size], self.identity.k)
        if found is None or found[0] != draw or found[1].sample != sample:
            name = self._names[shard]
            raise self._error(
                f"{name} is damaged at byte {offset} (draw {draw}, sample {sample}); "
                f"delete {name} and run {BUILD} RUN.yaml again: its records are answered anew"
            )
        return found[1]

    def _open_index(self, checksum: int) -> NDArray[np.int64]:
        again = f"seal it again with {BUILD} RUN.yaml, which answers nothing anew"
        try:
            mapped = _mapped(self.path / INDEX)
            if zlib.crc32(mapped) != checksum:
                raise self._error(f"{INDEX} is damaged; {again}")
            # Not np.memmap: slices of a subclass are several times as slow as those of an array.
            return np.asarray(np.load(self.path / INDEX, mmap_mode="r"))
        except (OSError, ValueError) as error:
            raise self._error(f"{INDEX} cannot be read ({error}); {again}") from error

    def _open_shard(self, name: str, size: int) -> memoryview:
        try:
            mapped = _mapped(self.path / name)
        except OSError as error:
            raise self._error(
                f"{name} cannot be read ({error.strerror or error}); "
                f"run {BUILD} RUN.yaml again: its records are answered anew"
            ) from error
        if len(mapped) != size:
            raise DataError(cut_short(self.path / name, len(mapped), size))
        return mapped

    def _error(self, what: str) -> DataError:
        return DataError(f"cache {self.path}: {what}")


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as stream:
        empty = stream.seek(0, 2) == 0
        return memoryview(b"" if empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
