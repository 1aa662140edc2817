"""The directory of a cache: its names, ``cache.json``, the tokenizer, and files that are whole or absent."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from tide_specs import ConfigError, DataError

from .identity import CacheIdentity, differences

FORMAT = 1
"""Raised whenever the files of a cache mean something else; caches of other formats are refused."""

MANIFEST, TOKENIZER, INDEX, SEAL = "cache.json", "tokenizer", "index.npy", "sealed.json"
BUILD = "tide cache build"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What ``cache.json`` says. config: the part of the run file that the cache was built from, in plain JSON."""

    identity: CacheIdentity
    config: Mapping[str, Any]


def create(
    path: Path,
    identity: CacheIdentity,
    *,
    config: Mapping[str, Any],
    save_tokenizer: Callable[[str], None],
    run_file: str = "RUN.yaml",
) -> None:
    """Make the directory of a cache, or find that it is there and was begun for the same identity.

    Any number of processes may call this at once. save_tokenizer: writes the teacher's tokenizer into a directory.
    Raises ``ConfigError`` when the directory holds something else, or a cache of another identity; ``DataError`` when it
    cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: is a file; name a new or empty directory for the cache")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with FileLock(path / ".create.lock"):
            if not (path / MANIFEST).exists():
                _require_empty(path)
                _write_new(path, identity, config, save_tokenizer)
                return
    except OSError as error:
        raise unwritable(path, MANIFEST, error) from error
    require(path, read_manifest(path).identity, identity, run_file=run_file, or_else="or name another directory")


def _write_new(path: Path, identity: CacheIdentity, config: Mapping[str, Any], save: Callable[[str], None]) -> None:
    partial = path / f".{TOKENIZER}"
    for left in (partial, path / TOKENIZER):  # by a process that was killed before it wrote the manifest
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir()
    save(str(partial))
    os.replace(partial, path / TOKENIZER)
    facts = {"format": FORMAT, "identity": identity.as_dict(), "config": config}
    write_json(path / MANIFEST, facts)


def _require_empty(path: Path) -> None:
    others = sorted(
        entry.name for entry in path.iterdir() if not entry.name.startswith(".") and entry.name != TOKENIZER
    )
    if others:
        raise ConfigError(f"{path}: holds other files ({', '.join(others[:3])}); name a new or empty directory")


def read_manifest(path: Path) -> Manifest:
    """Return what a cache was built from.

    Raises ``ConfigError`` when the directory is none of a cache, ``DataError`` when its ``cache.json`` is damaged or of
    another format.
    """
    facts = read_json(path, MANIFEST)
    if facts is None:
        why = f"it has no {MANIFEST}" if path.is_dir() else "there is no such directory"
        raise ConfigError(f"{path}: not a teacher cache, {why}; build one with {BUILD} RUN.yaml")
    if facts.get("format") != FORMAT:
        raise DataError(
            f"cache {path}: its format is {facts.get('format')}, this version of TIDE reads {FORMAT}; "
            f"delete it and build it again with {BUILD} RUN.yaml"
        )
    try:
        return Manifest(identity=CacheIdentity(**facts["identity"]), config=facts["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, MANIFEST, error) from error


def require(
    path: Path,
    built: CacheIdentity,
    wanted: CacheIdentity,
    *,
    run_file: str = "RUN.yaml",
    or_else: str = "or use the run file that it was built from",
) -> None:
    """Raise ``ConfigError`` with one line for everything in which a cache differs from what a run needs."""
    found = differences(built, wanted)
    if found:
        lines = [f"cache {path}: was built with {line}" for line in found]
        lines[-1] += f"; rebuild it with {BUILD} {run_file}, {or_else}"
        raise ConfigError("\n".join(lines))


def read_json(path: Path, name: str) -> dict[str, Any] | None:
    """Return a file of a cache, ``None`` when it is missing. Raises ``DataError`` when it is damaged."""
    try:
        found = json.loads((path / name).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, name, error) from error
    if not isinstance(found, dict):
        raise _damaged(path, name, "not a mapping")
    return found


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write_whole(path, [json.dumps(facts, indent=1).encode()])


def write_whole(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file, whole or not at all, whenever this process or the machine stops."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as stream:
            stream.writelines(parts)
            synchronise(stream)
        os.replace(partial, path)
        synchronise_directory(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def synchronise(stream: BinaryIO) -> None:
    """Have the operating system put a file's bytes on the disk before this returns."""
    stream.flush()
    os.fsync(stream.fileno())


def synchronise_directory(path: Path) -> None:
    """Have the names in a directory put on the disk, where the operating system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unwritable(path: Path, name: str, error: OSError, safe: str = "") -> DataError:
    """Return the error for a disk that refuses. safe: what is not lost."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "make room" if full else "see to it"
    return DataError(
        f"cache {path}: {name} cannot be written: {error.strerror or error}; "
        f"{safe}{remedy}, then run the same command again: it goes on from there"
    )


def _damaged(path: Path, name: str, error: object) -> DataError:
    return DataError(
        f"cache {path}: {name} is damaged ({error}); delete the directory and build it again with {BUILD} RUN.yaml"
    )
