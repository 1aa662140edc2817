"""Locks of folders, which the system releases however their holder ends."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Generator
from pathlib import Path

from filelock import FileLock, Timeout

from tide_specs import ConfigError

LOCK, HOLDER = ".lock", ".pid"

logger = logging.getLogger("tide_core.matrix")


@contextlib.contextmanager
def waiting(directory: Path) -> Generator[None]:
    """Hold a folder's lock; wait while another process holds it."""
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("waiting for %s", holder(directory))
        lock.acquire()
    with _held(lock, directory):
        yield


@contextlib.contextmanager
def refusing(directory: Path) -> Generator[None]:
    """Create a matrix' folder and hold its lock. Raises ``ConfigError`` when another process does, or none can."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"{directory}: {holder(directory)} is running this matrix; wait for it, or choose another output:"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"output: {directory}: cannot be written ({error.strerror}); choose another folder"
        ) from error
    with _held(lock, directory):
        yield


@contextlib.contextmanager
def _held(lock: FileLock, directory: Path) -> Generator[None]:
    try:
        (directory / HOLDER).write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        lock.release()


def holder(directory: Path) -> str:
    """Return who holds, or last held, the lock of a folder."""
    try:
        return (directory / HOLDER).read_text(encoding="utf-8")
    except OSError:
        return "another process"
