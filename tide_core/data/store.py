"""Encoded rows on disk: Arrow, memory-mapped, written once by whichever process comes first, and complete or absent."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from tide_specs import DataError

from .rows import PreparationReport, Row, RowSide

ROWS = "rows.arrow"
REPORT = "report.json"

logger = logging.getLogger(__name__)

Encoded = Iterator[tuple[pa.RecordBatch, PreparationReport]]


class Store:
    """A complete cache entry, opened for reading."""

    def __init__(self, directory: Path) -> None:
        facts = json.loads((directory / REPORT).read_text(encoding="utf-8"))
        self.report = PreparationReport(**facts)
        reader = pa.ipc.open_file(pa.memory_map(str(directory / ROWS)))
        self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        sizes = np.array([batch.num_rows for batch in self._batches], dtype=np.int64)
        self._starts = np.cumsum(sizes) - sizes
        self.size = int(sizes.sum())
        self.has_teacher = "teacher_ids" in reader.schema.names
        self._views: dict[int, dict[str, tuple[NDArray[np.int64], NDArray[Any]]]] = {}

    def row(self, index: int) -> Row:
        """Return one row; its arrays are read-only views of the file."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        place = index - int(self._starts[number])
        return Row(
            sample=int(self._batches[number].column("sample")[place].as_py()),
            student=self._side("student", number, place),
            teacher=self._side("teacher", number, place) if self.has_teacher else None,
            chunk_bytes=self._list("chunk_bytes", number, place),
            chunk_relation=self._list("chunk_relation", number, place),
        )

    def lengths(self, side: str) -> NDArray[np.int64]:
        """[size] tokens of each row on one side."""
        columns = [np.diff(batch.column(f"{side}_ids").offsets.to_numpy()) for batch in self._batches]
        return np.concatenate(columns).astype(np.int64) if columns else np.zeros(0, dtype=np.int64)

    def samples(self) -> NDArray[np.int64]:
        """[size] identity of each row, rising."""
        columns = [batch.column("sample").to_numpy() for batch in self._batches]
        return np.concatenate(columns).astype(np.int64) if columns else np.zeros(0, dtype=np.int64)

    def _side(self, name: str, number: int, place: int) -> RowSide:
        return RowSide(
            ids=self._list(f"{name}_ids", number, place),
            maskable=self._list(f"{name}_maskable", number, place).view(np.bool_),
            chunk=self._list(f"{name}_chunk", number, place),
        )

    def _list(self, column: str, number: int, place: int) -> NDArray[Any]:
        offsets, values = self._view(number)[column]
        return values[offsets[place] : offsets[place + 1]]

    def _view(self, number: int) -> dict[str, tuple[NDArray[np.int64], NDArray[Any]]]:
        if number not in self._views:
            batch = self._batches[number]
            self._views[number] = {
                name: (batch.column(name).offsets.to_numpy(), batch.column(name).values.to_numpy())
                for name in batch.schema.names
                if name != "sample"
            }
        return self._views[number]


def open_or_write(directory: Path, encoded: Callable[[], Encoded]) -> Store:
    """Open a cache entry, writing it first where it is missing.

    Of several processes that race, the first one writes; the others wait on a file lock, which the operating system
    releases even when its holder is killed, and then find the entry. Raises ``DataError`` when the cache cannot be
    written; passes on what ``encoded`` raises, and then writes nothing.
    """
    if (store := _opened(directory)) is not None:
        return store
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{directory}.lock")
        _acquire(lock, directory)
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        if (store := _opened(directory)) is not None:
            return store
        _write(directory, encoded())
    finally:
        lock.release()
    return Store(directory)


def _acquire(lock: FileLock, directory: Path) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("another process is encoding the data into %s; waiting for it", directory)
        lock.acquire()


def _opened(directory: Path) -> Store | None:
    if not directory.is_dir():
        return None
    try:
        return Store(directory)
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        logger.warning("%s is damaged (%s); encoding again", directory, error)
        return None


def _write(directory: Path, encoded: Encoded) -> None:
    """Write beside the final place, then rename: a reader sees a complete entry or none. The caller holds the lock."""
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
    try:
        partial.mkdir()
        report = _write_rows(partial / ROWS, encoded)
        (partial / REPORT).write_text(json.dumps(report.as_dict()), encoding="utf-8")
        shutil.rmtree(directory, ignore_errors=True)
        os.replace(partial, directory)
    except OSError as error:
        raise _unwritable(directory, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_rows(path: Path, encoded: Encoded) -> PreparationReport:
    total = PreparationReport()
    writer: pa.RecordBatchFileWriter | None = None
    with pa.OSFile(str(path), "wb") as sink:
        for batch, report in encoded:
            total += report
            if writer is None:
                writer = pa.ipc.new_file(sink, batch.schema)
            if batch.num_rows:
                writer.write_batch(batch)
        if writer is not None:
            writer.close()
    return total


def _unwritable(directory: Path, error: OSError) -> DataError:
    return DataError(f"{directory}: the cache of encoded examples cannot be written: {error.strerror or error}")
