from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from cache_standins import DRAWS, SAMPLES, answer, assert_complete, assert_same, begin, finished, identity
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tide_core.teacher_cache import CacheWriter, Record, TeacherCache, mask_digest, seal
from tide_core.teacher_cache.records import decode, encode, size_of
from tide_specs import DataError

FINITE = st.floats(width=32, allow_nan=False)


@st.composite
def written(draw: st.DrawFn) -> tuple[int, Record, int]:
    k = draw(st.sampled_from([0, 0, 1, 2, 7]))
    count = draw(st.integers(0, 9))
    floats = arrays(np.float32, count, elements=FINITE)
    record = Record(draw(st.integers(-(2**63), 2**63 - 1)), draw(st.binary(min_size=8, max_size=8)), draw(floats))
    if k:
        ids = draw(arrays(np.int32, (count, k)))
        record = record._replace(
            ids=ids, log_p=draw(arrays(np.float32, (count, k), elements=FINITE)), rest=draw(floats)
        )
    return draw(st.integers(0, 2**32 - 1)), record, k


@given(written())
def test_a_record_comes_back_bit_for_bit(case: tuple[int, Record, int]) -> None:
    draw, record, k = case
    data = encode(draw, record, k)
    assert len(data) == size_of(len(record.likelihood), k)
    found = decode(memoryview(data), k)
    assert found is not None and found[0] == draw
    assert_same(found[1], record)


@given(written(), st.data())
def test_any_flipped_bit_is_noticed(case: tuple[int, Record, int], data: st.DataObject) -> None:
    draw, record, k = case
    damaged = bytearray(encode(draw, record, k))
    bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    assert decode(memoryview(damaged), k) is None


@settings(max_examples=15, deadline=None)
@given(
    st.sets(st.integers(-(2**40), 2**40), min_size=1, max_size=20), st.integers(1, 3), st.integers(0, 3), st.randoms()
)
def test_a_cache_gives_back_what_was_put_in(samples: set[int], draws: int, k: int, random: object) -> None:
    ids = np.array(sorted(samples))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache"
        begin(path, identity(samples=len(ids), draws=draws, values="top_k" if k else "likelihoods", k=k))
        keys = [(draw, sample) for draw in range(draws) for sample in ids.tolist()]
        random.shuffle(keys)  # type: ignore[attr-defined]
        records = {(draw, sample): answer(draw, abs(sample), k)._replace(sample=sample) for draw, sample in keys}
        with CacheWriter(path) as writer:
            for draw, sample in keys:
                writer.add(draw, records[draw, sample])
        seal(path, ids[::-1])
        cache = TeacherCache(path)
        for draw in range(draws):
            asked = random.sample(ids.tolist(), len(ids))  # type: ignore[attr-defined]
            for sample, record in zip(asked, cache.read(draw, asked), strict=True):
                assert_same(record, records[draw, sample])


@pytest.mark.parametrize("k", [0, 4])
def test_what_is_read_are_views_that_cannot_be_written(tmp_path: Path, k: int) -> None:
    record = finished(tmp_path / "cache", k).read(1, [5])[0]
    assert not record.likelihood.flags.owndata and not record.likelihood.flags.writeable
    assert_complete(tmp_path / "cache", k)


def test_a_token_costs_four_bytes(tmp_path: Path) -> None:
    finished(tmp_path / "cache")
    tokens = sum(len(answer(draw, sample).likelihood) for draw in range(DRAWS) for sample in SAMPLES.tolist())
    (shard,) = (tmp_path / "cache").glob("*.bin")
    assert shard.stat().st_size == 4 * tokens + 32 * DRAWS * len(SAMPLES)


def test_a_doubled_or_empty_request_is_answered(tmp_path: Path) -> None:
    cache = finished(tmp_path / "cache")
    assert [record.sample for record in cache.read(0, [5, 5, 0])] == [5, 5, 0]
    assert cache.read(0, []) == []


def test_another_mask_is_refused(tmp_path: Path) -> None:
    cache = finished(tmp_path / "cache")
    right, wrong = answer(1, 5).mask, mask_digest(np.array([7]))
    cache.read(1, [5], [right])
    with pytest.raises(
        DataError, match=r"draw 1, sample 5: the teacher answered under another mask than this run draws"
    ):
        cache.read(1, [5], [wrong])


def test_digests_tell_masks_apart() -> None:
    one = np.array([1, 2, 3])
    assert mask_digest(one) == mask_digest(one.copy()) and len(mask_digest(one)) == 8
    others = [one[:2], one[::-1], one.astype(np.int32), one[None]]
    assert len({mask_digest(array) for array in [one, *others]}) == 5


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record(1, bytes(8), np.zeros(2, np.float32), rest=np.zeros(2, np.float32)), "takes no distributions"),
        (Record(1, bytes(7), np.zeros(2, np.float32)), "8 bytes, not 7"),
        (Record(1, bytes(8), np.zeros(2, np.int64)), "likelihood: int64 cannot be kept as float32"),  # type: ignore[arg-type]
    ],
)
def test_records_of_another_kind_are_refused(record: Record, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(0, record, 0)


def test_distributions_must_have_the_width_of_the_cache() -> None:
    with pytest.raises(ValueError, match=r"rest: the shape is None, expected \(2,\)"):
        encode(0, Record(1, bytes(8), np.zeros(2, np.float32)), 3)
    record = answer(0, 5, k=3)
    with pytest.raises(ValueError, match=rf"log_p: the shape is \({len(record.likelihood)}, 3\), expected"):
        encode(0, record, 4)


def test_an_answer_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    begin(tmp_path / "cache")
    with CacheWriter(tmp_path / "cache") as writer:
        with pytest.raises(DataError, match=r"sample 5: the teacher's answer is not a number \(likelihood\)"):
            writer.add(0, Record(5, bytes(8), np.array([0, np.nan], np.float32)))
        assert 5 in writer.missing(0, SAMPLES)


def test_importing_the_cache_imports_no_torch() -> None:
    import subprocess
    import sys

    program = "import sys, tide_core.teacher_cache; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
