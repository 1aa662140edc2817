from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cache_standins import DRAWS, SAMPLES, answer, assert_complete, assert_same, begin, fill, finished

from tide_core.teacher_cache import CacheWriter, TeacherCache, seal
from tide_specs import DataError

TOTAL = DRAWS * len(SAMPLES)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "cache"
    finished(path)
    return path


@pytest.fixture
def cache(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "cache"))


def read_all(path: Path) -> None:
    for _ in TeacherCache(path).verify():
        pass


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_a_flipped_byte_is_found_wherever_it_is(cache: Path) -> None:
    shard = cache / "shard-0-0.bin"
    for place in range(0, shard.stat().st_size, 7):
        flip(shard, place)
        with pytest.raises(
            DataError, match=r"shard-0-0\.bin is damaged at byte \d+ \(draw \d, sample \d+\); delete shard"
        ):
            read_all(cache)
        flip(shard, place)
    read_all(cache)


def test_only_the_damaged_record_is_refused(cache: Path) -> None:
    flip(cache / "shard-0-0.bin", 8)
    opened = TeacherCache(cache)
    with pytest.raises(DataError, match="draw 0, sample 0"):
        opened.read(0, SAMPLES)
    assert_same(opened.read(0, [1])[0], answer(0, 1))


def test_a_deleted_shard_is_answered_anew(cache: Path) -> None:
    flip(cache / "shard-0-0.bin", 8)
    (cache / "shard-0-0.bin").unlink()
    with pytest.raises(
        DataError, match=r"shard-0-0\.bin cannot be read \(No such file or directory\); run tide cache build"
    ):
        TeacherCache(cache)
    fill(cache)
    assert_complete(cache)


@pytest.mark.parametrize("opened", [TeacherCache, CacheWriter, lambda path: seal(path, SAMPLES)])
def test_a_truncated_shard_is_named(cache: Path, opened: Any) -> None:
    shard = cache / "shard-0-0.bin"
    size = shard.stat().st_size
    with shard.open("r+b") as stream:
        stream.truncate(size - 1)
    with pytest.raises(
        DataError, match=rf"shard-0-0\.bin is cut short, {size - 1} of {size} bytes; delete shard-0-0\.bin"
    ):
        opened(cache)
    shard.unlink()
    fill(cache)
    assert_complete(cache)


def test_a_damaged_index_is_made_again(cache: Path) -> None:
    flip(cache / "index.npy", 300)
    with pytest.raises(DataError, match=r"index\.npy is damaged; seal it again"):
        TeacherCache(cache)
    (cache / "index.npy").unlink()
    with pytest.raises(DataError, match=r"index\.npy cannot be read"):
        TeacherCache(cache)
    assert_complete(cache)


def test_an_index_of_a_shard_may_be_lost(cache: Path) -> None:
    entries = (cache / "shard-0-0.idx").read_bytes()
    for damaged in (b"", entries[:-5], entries[:100] + b"\0" * 100, b"\0" * len(entries)):
        (cache / "shard-0-0.idx").write_bytes(damaged)
        assert_complete(cache)
        assert (cache / "shard-0-0.idx").read_bytes() == entries


@pytest.mark.parametrize("name", ["cache.json", "sealed.json"])
@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_a_damaged_json_file_is_named(cache: Path, name: str, content: str) -> None:
    (cache / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=rf"{name} is damaged \(.*\); "):
        TeacherCache(cache)


def test_a_manifest_without_its_fields_is_damaged(cache: Path) -> None:
    for facts in ({"format": 1}, {"format": 1, "identity": {"seed": 1}, "config": {}}):
        (cache / "cache.json").write_text(json.dumps(facts))
        with pytest.raises(DataError, match=r"cache\.json is damaged"):
            TeacherCache(cache)


def test_another_format_is_refused(cache: Path) -> None:
    facts = json.loads((cache / "cache.json").read_text())
    (cache / "cache.json").write_text(json.dumps({**facts, "format": 2}))
    with pytest.raises(DataError, match=r"its format is 2, this version of TIDE reads 1; delete it and build it again"):
        TeacherCache(cache)


def test_a_cache_that_is_not_finished_says_how_far_it_is(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(DataError, match=rf"not finished, 0 of {TOTAL} records; finish it with tide cache build"):
        TeacherCache(tmp_path)
    with CacheWriter(tmp_path) as writer:
        for sample in SAMPLES[2:].tolist():
            writer.add(0, answer(0, sample))
        for sample in SAMPLES.tolist():
            writer.add(1, answer(1, sample))
    with pytest.raises(DataError, match=rf"not finished, 20 of {TOTAL} records"):
        TeacherCache(tmp_path)
    with pytest.raises(
        DataError, match=r"missing: draw 0, samples 0, 1; draw 2, samples 0, 1, 2, 5, 6 and 6 more; finish"
    ):
        seal(tmp_path, SAMPLES)
    fill(tmp_path)
    assert_complete(tmp_path)


def test_doubled_and_unexpected_records_are_named(cache: Path) -> None:
    shutil.copy(cache / "shard-0-0.bin", cache / "shard-1-0.bin")
    with pytest.raises(
        DataError, match=r"doubled: draw 0, samples 0, 1, 2, 5, 6 and 6 more; doubled: draw 1, .*delete it"
    ):
        seal(cache, SAMPLES)
    (cache / "shard-1-0.bin").unlink()
    with pytest.raises(DataError, match=r"not expected: draw 0, samples 1000; not expected: draw 1"):
        seal(cache, np.append(SAMPLES[:-1], 1001))


def test_a_sample_that_is_not_there_is_named(cache: Path) -> None:
    opened = TeacherCache(cache)
    for absent in (3, -1, 1001):
        with pytest.raises(DataError, match=rf"draw 2: has no sample {absent}; it was built from other data"):
            opened.read(2, [0, absent, 5])
    with pytest.raises(IndexError, match="draw 3 of 3"):
        opened.read(3, [0])


@pytest.mark.parametrize("k", [0, 3])
def test_a_last_record_cut_off_at_any_byte_is_answered_again_and_no_other(tmp_path: Path, k: int) -> None:
    finished(tmp_path / "cache", k)
    content = (tmp_path / "cache" / "shard-0-0.bin").read_bytes()
    entries = (tmp_path / "cache" / "shard-0-0.idx").read_bytes()
    width = len(entries) // TOTAL
    start = int(np.frombuffer(entries[-width:], "<i8", 1)[0])
    # What a kill may leave: the entry is written only after the record. Seen from the last but one flush.
    for size in range(start, len(content)):
        (tmp_path / "cache" / "shard-0-0.bin").write_bytes(content[:size])
        (tmp_path / "cache" / "shard-0-0.idx").write_bytes(entries[:-width])
        with CacheWriter(tmp_path / "cache") as writer:
            assert [writer.missing(draw, SAMPLES).tolist() for draw in range(DRAWS)] == [[], [], [1000]]
        assert (tmp_path / "cache" / "shard-0-0.bin").stat().st_size == start
    fill(tmp_path / "cache", k=k)
    assert (tmp_path / "cache" / "shard-0-0.bin").read_bytes() == content
    assert_complete(tmp_path / "cache", k)


@pytest.mark.parametrize("behind", [b"\0" * 500, b"\xff" * 500, bytes(range(256))])
def test_what_a_power_cut_leaves_behind_the_last_flush_is_cut_off(cache: Path, behind: bytes) -> None:
    before = (cache / "shard-0-0.bin").read_bytes()
    (cache / "shard-0-0.bin").write_bytes(before + behind)
    assert_complete(cache)
    assert (cache / "shard-0-0.bin").read_bytes() == before
