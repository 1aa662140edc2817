"""Who writes a cache: file locks, which the operating system releases even when their holder is killed."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tide_specs import DataError

_NAME = re.compile(r"\.writer-(\d+)-of-(\d+)\.lock")


def lock_writer(path: Path, writer: int, writers: int) -> FileLock:
    """Return the lock of writer number ``writer`` of ``writers``, held.

    Raises ``DataError`` when another process writes under this number, or shares the samples out among another number of
    writers: both would answer the same sample. Passes on ``OSError``.
    """
    lock = _held(path, writer, writers)
    try:
        for other in _others(path, writers):
            _held(path, *other).release()
    except BaseException:
        lock.release()
        raise
    return lock


def being_written(path: Path) -> bool:
    """Whether some process has the cache open for writing."""
    try:
        with all_writers(path):
            return False
    except DataError:
        return True


@contextmanager
def all_writers(path: Path) -> Generator[None]:
    """Keep everybody from writing. Raises ``DataError`` when somebody does."""
    locks: list[FileLock] = []
    try:
        for one in _others(path, None):
            locks.append(_held(path, *one))
        yield
    finally:
        for lock in locks:
            lock.release()


def _others(path: Path, writers: int | None) -> list[tuple[int, int]]:
    """(writer, writers) of every lock file but those of ``writers``."""
    names = [_NAME.fullmatch(entry.name) for entry in path.glob(".writer-*.lock")]
    return sorted((int(name[1]), int(name[2])) for name in names if name and int(name[2]) != writers)


def _held(path: Path, writer: int, writers: int) -> FileLock:
    lock = FileLock(path / f".writer-{writer}-of-{writers}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DataError(
            f"cache {path}: another process is writing it (writer {writer} of {writers}); "
            "wait until it has finished, or end it"
        ) from error
    return lock
