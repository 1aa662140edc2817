"""A cache of invented answers: what the teacher says of a sample follows from draw and sample alone."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tide_core.teacher_cache import CacheIdentity, CacheWriter, Record, TeacherCache, create, mask_digest, seal, writer

DRAWS = 3
SAMPLES = np.array([0, 1, 2, 5, 6, 7, 9, 12, 40, 41, 1000])
"""Ids have gaps, as those of prepared rows have."""


def identity(**changes: Any) -> CacheIdentity:
    facts: dict[str, Any] = {
        "tokenizer": "t" * 8,
        "student_tokenizer": "s" * 8,
        "alignment": {"name": "byte_chunks"},
        "teacher": {"name": "huggingface", "weights": "0" * 8},
        "view": {"name": "complementary", "ratio": 0.5},
        "corruption": {"name": "absorbing"},
        "schedule": {"name": "linear"},
        "seed": 0,
        "data": "d" * 8,
        "samples": len(SAMPLES),
        "draws": DRAWS,
    }
    return CacheIdentity(**{**facts, **changes})


def answer(draw: int, sample: int, k: int = 0) -> Record:
    rng = np.random.default_rng([draw, sample])
    count = int(rng.integers(0, 30))
    likelihood = -rng.random(count, np.float32)
    mask = mask_digest(np.array([draw, sample]))
    if not k:
        return Record(sample, mask, likelihood)
    ids = rng.integers(0, 2**31, (count, k), np.int32)
    return Record(sample, mask, likelihood, ids, -rng.random((count, k), np.float32), rng.random(count, np.float32))


def save_tokenizer(path: str) -> None:
    (Path(path) / "tokenizer.json").write_text("{}")


def begin(path: Path, of: CacheIdentity | None = None) -> None:
    create(path, of or identity(), config={"teacher": "a"}, save_tokenizer=save_tokenizer)


def fill(path: Path, *, number: int = 0, writers: int = 1, k: int = 0, pause: float = 0.0, each: int = 1) -> None:
    """Answer what is missing, ``each`` records between two flushes."""
    with CacheWriter(path, writer=number, writers=writers) as open_writer:
        for draw in range(DRAWS):
            for place, sample in enumerate(open_writer.missing(draw, SAMPLES).tolist()):
                open_writer.add(draw, answer(draw, sample, k))
                if place % each == each - 1:
                    open_writer.flush()
                    time.sleep(pause)


def finished(path: Path, k: int = 0, **how: Any) -> TeacherCache:
    begin(path, identity(values="top_k", k=k) if k else None)
    fill(path, k=k, **how)
    seal(path, SAMPLES)
    return TeacherCache(path)


def assert_same(one: Record, other: Record) -> None:
    assert one[:2] == other[:2]
    for ours, theirs in zip(one[2:], other[2:], strict=True):
        if ours is None or theirs is None:
            assert ours is theirs
        else:
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs, strict=True)


def assert_complete(path: Path, k: int = 0) -> None:
    """Every record is there once and is what the teacher said."""
    seal(path, SAMPLES)
    cache = TeacherCache(path)
    assert len(cache) == DRAWS * len(SAMPLES)
    for draw in range(DRAWS):
        for record in cache.read(draw, SAMPLES):
            assert_same(record, answer(draw, record.sample, k))
    assert list(cache.verify())[-1] == len(cache)


if __name__ == "__main__":
    directory, mine, of, shard_bytes, between = sys.argv[1:]
    writer.SHARD_BYTES = int(shard_bytes)
    print("ready", flush=True)
    fill(Path(directory), number=int(mine), writers=int(of), pause=float(between))
