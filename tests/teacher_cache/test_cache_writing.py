from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cache_standins
import numpy as np
import pytest
from cache_standins import DRAWS, SAMPLES, answer, assert_complete, begin, fill, identity

from tide_core.teacher_cache import CacheWriter, TeacherCache, seal, shards
from tide_core.teacher_cache import writer as writing
from tide_specs import DataError

TOTAL = DRAWS * len(SAMPLES)


def start(path: Path, number: int = 0, writers: int = 1, shard_bytes: int = 600, pause: float = 0.0) -> Any:
    arguments = [path, number, writers, shard_bytes, pause]
    command = [sys.executable, cache_standins.__file__, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def test_killed_at_any_moment_and_resumed_it_ends_the_same(tmp_path: Path) -> None:
    chance = random.Random(0)
    begin(tmp_path)
    kills = 0
    for _ in range(6):
        process = start(tmp_path, pause=0.004)
        time.sleep(chance.uniform(0.0, 0.06))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills
    fill(tmp_path)
    assert_complete(tmp_path)


def test_a_kill_in_the_middle_of_a_write_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    begin(tmp_path)
    process = start(tmp_path, shard_bytes=1 << 20, pause=0.05)
    index = tmp_path / "shard-0-0.idx"
    while process.poll() is None and not (index.exists() and index.stat().st_size >= 200):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    flushed = [len(entries) for entries in shards.read_entries(shards.shards_of(tmp_path, 0)[0])]
    assert sum(flushed) >= 6
    with (tmp_path / "shard-0-0.bin").open("ab") as stream:
        stream.write(b"half of a record, as the kernel had it")
    with CacheWriter(tmp_path) as writer:
        missing = sum(len(writer.missing(draw, SAMPLES)) for draw in range(DRAWS))
        there = sum(len(part) for shard in shards.shards_of(tmp_path, 0) for part in shards.read_entries(shard))
        assert missing == TOTAL - there
    fill(tmp_path)
    assert_complete(tmp_path)


def test_two_processes_write_at_once_into_shards_of_their_own(tmp_path: Path) -> None:
    begin(tmp_path)
    processes = [start(tmp_path, number, 2) for number in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(list(tmp_path.glob("shard-0-*.bin"))) > 1 and len(list(tmp_path.glob("shard-1-*.bin"))) > 1
    assert_complete(tmp_path)


@pytest.mark.parametrize("then", [1, 2, 5])
def test_a_cache_may_be_resumed_with_another_number_of_writers(tmp_path: Path, then: int) -> None:
    begin(tmp_path)
    fill(tmp_path, number=1, writers=3)
    (tmp_path / "shard-1-0.idx").unlink()
    with (tmp_path / "shard-1-0.bin").open("ab") as stream:
        stream.write(b"torn")
    for number in range(then):
        fill(tmp_path, number=number, writers=then, each=3)
    assert_complete(tmp_path)


def test_a_writer_number_is_taken_once(tmp_path: Path) -> None:
    begin(tmp_path)
    with CacheWriter(tmp_path, writer=0, writers=2), CacheWriter(tmp_path, writer=1, writers=2):
        with pytest.raises(DataError, match=r"another process is writing it \(writer 1 of 2\); wait"):
            CacheWriter(tmp_path, writer=1, writers=2)
        with pytest.raises(DataError, match=r"another process is writing it \(writer 0 of 2\)"):
            CacheWriter(tmp_path, writer=2, writers=3)
        with pytest.raises(DataError, match=r"another process is writing it \(writer 0 of 2\)"):
            seal(tmp_path, SAMPLES)
    CacheWriter(tmp_path, writer=2, writers=3).close()


def test_a_writer_takes_its_own_samples_once(tmp_path: Path) -> None:
    begin(tmp_path)
    with CacheWriter(tmp_path, writer=1, writers=2) as writer:
        assert writer.missing(0, SAMPLES).tolist() == [1, 5, 7, 9, 41]
        writer.add(0, answer(0, 5))
        assert writer.missing(0, SAMPLES).tolist() == [1, 7, 9, 41]
        for draw, sample, message in [(0, 5, "is there already"), (0, 6, "not of writer 1"), (3, 5, "draw 3 of 3")]:
            with pytest.raises(ValueError, match=message):
                writer.add(draw, answer(0, sample))
    with CacheWriter(tmp_path, writer=1, writers=2) as writer:
        with pytest.raises(ValueError, match="is there already"):
            writer.add(0, answer(0, 5))
        assert writer.missing(0, SAMPLES).tolist() == [1, 7, 9, 41]
    with pytest.raises(ValueError, match="is closed"):
        writer.add(0, answer(0, 7))


def test_records_reach_the_disk_by_size_and_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path)
    shard = tmp_path / "shard-0-0.bin"
    with CacheWriter(tmp_path) as writer:
        writer.add(0, answer(0, 0))
        assert shard.stat().st_size == 0
        monkeypatch.setattr(writing, "FLUSH_SECONDS", 0.0)
        writer.add(0, answer(0, 1))
        size = shard.stat().st_size
        assert size > 0
        monkeypatch.setattr(writing, "FLUSH_SECONDS", 1e9)
        writer.add(0, answer(0, 2))
        assert shard.stat().st_size == size
        monkeypatch.setattr(writing, "BUFFER_BYTES", 1)
        writer.add(0, answer(0, 5))
        assert shard.stat().st_size > size


def test_an_error_in_the_builder_keeps_what_was_answered(tmp_path: Path) -> None:
    begin(tmp_path)

    def interrupted() -> None:
        with CacheWriter(tmp_path) as writer:
            writer.add(0, answer(0, 5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with CacheWriter(tmp_path) as writer:
        assert 5 not in writer.missing(0, SAMPLES)


def test_adding_to_a_finished_cache_opens_it_again(tmp_path: Path) -> None:
    begin(tmp_path, identity(samples=1, draws=1))
    with CacheWriter(tmp_path) as writer:
        writer.add(0, answer(0, 5))
    seal(tmp_path, [5])
    with CacheWriter(tmp_path) as writer:
        assert writer.missing(0, [5]).tolist() == []
    assert len(TeacherCache(tmp_path)) == 1, "looking is not writing"
    with CacheWriter(tmp_path) as writer:
        writer.add(0, answer(0, 6))
    with pytest.raises(DataError, match="not finished"):
        TeacherCache(tmp_path)


@pytest.mark.parametrize("left", [0, 1, 40, 500])
@pytest.mark.parametrize("suffix", [".bin", ".idx"])
def test_a_full_disk_is_one_clear_error_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int, suffix: str
) -> None:
    begin(tmp_path)
    room = left

    def write(stream: Any, data: bytes) -> None:
        nonlocal room
        if not str(stream.name).endswith(suffix):
            stream.write(data)
            return
        stream.write(data[:room])
        room -= len(data)
        if room < 0:
            room = 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shards, "_write", write)
        message = (
            r"shard-0-0\.bin cannot be written: No space left on device; the records flushed before are safe; make"
        )
        with pytest.raises(DataError, match=message):
            fill(tmp_path, each=2)
    fill(tmp_path, each=2)
    assert_complete(tmp_path)


def test_a_real_limit_of_the_operating_system_is_survived(tmp_path: Path) -> None:
    begin(tmp_path)
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700)); "
        f"sys.path.insert(0, {str(Path(cache_standins.__file__).parent)!r}); from pathlib import Path; "
        "from cache_standins import fill; fill(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        "shard-0-0.bin cannot be written: File too large; the records flushed before are safe; make room" in done.stderr
    )
    assert 0 < (tmp_path / "shard-0-0.bin").stat().st_size <= 700
    fill(tmp_path)
    assert_complete(tmp_path)


def test_a_full_disk_while_sealing_leaves_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path)
    fill(tmp_path)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"index\.npy cannot be written: No space left on device; make room"):
            seal(tmp_path, SAMPLES)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".index")]
    with pytest.raises(DataError, match="not finished"):
        TeacherCache(tmp_path)
    assert_complete(tmp_path)


def test_sealing_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    begin(tmp_path)
    fill(tmp_path)
    seal(tmp_path, SAMPLES)
    before = [(tmp_path / name).read_bytes() for name in ("index.npy", "sealed.json")]
    seal(tmp_path, np.flip(SAMPLES))
    assert [(tmp_path / name).read_bytes() for name in ("index.npy", "sealed.json")] == before
    assert json.loads(before[1])["records"] == TOTAL


def test_sealing_for_another_number_of_samples_is_refused(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(ValueError, match="2 samples, the cache was begun for 11"):
        seal(tmp_path, [0, 1])
