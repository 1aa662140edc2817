from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pipeline_standins import CommonEnds, Listed, WideBytes, prepare

from tide_core.data import PreparedData, store
from tide_specs import DataError

PAIRS = tuple((f"p{n}", f"response {n}") for n in range(12))


def prepared(cache: Path, dataset: Listed | None = None, log: Path | None = None, **options: Any) -> PreparedData:
    arguments: dict[str, Any] = {
        "student": WideBytes(1, log=None if log is None else str(log)),
        "teacher": WideBytes(2),
        "alignment": CommonEnds(),
        "workers": 0,
    } | options
    return prepare(dataset or Listed(pairs=PAIRS), "train", cache_directory=str(cache), **arguments)


def encoded(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_the_second_call_encodes_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = prepared(tmp_path / "cache", log=log)
    assert encoded(log) == 12
    calls: list[int] = []
    second = prepared(tmp_path / "cache", log=log, progress=lambda done, total: calls.append(done))
    assert encoded(log) == 12
    assert calls == []
    assert second.fingerprint == first.fingerprint
    assert second.report == first.report
    for one, two in zip(first.rows(range(12)), second.rows(range(12)), strict=True):
        assert one.student.ids.tolist() == two.student.ids.tolist()
        assert one.sample == two.sample


def test_packing_reads_the_same_cache_under_another_name(tmp_path: Path) -> None:
    log = tmp_path / "log"
    plain = prepared(tmp_path, log=log)
    packed = prepared(tmp_path, Listed(pairs=PAIRS, packing=True), log=log)
    assert encoded(log) == 12
    assert packed.fingerprint != plain.fingerprint
    assert len(packed) < len(plain)


class Newer(CommonEnds):
    version = 2


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": Listed(pairs=PAIRS[1:])},
        {"dataset": Listed(pairs=PAIRS, max_length=256)},
        {"dataset": Listed(pairs=PAIRS, teacher_max_length=256)},
        {"student": WideBytes(3)},
        {"student": WideBytes(1, mask=250)},
        {"teacher": WideBytes(3)},
        {"teacher": None, "alignment": None},
        {"alignment": CommonEnds(option=1)},
        {"alignment": Newer()},
        {"length_multiple": 4},
        {"teacher_length_multiple": 4},
        {"max_examples": 5},
    ],
    ids=lambda change: "-".join(change),
)
def test_whatever_decides_about_the_rows_is_part_of_the_key(tmp_path: Path, change: dict[str, Any]) -> None:
    assert prepared(tmp_path, **change).fingerprint != prepared(tmp_path).fingerprint


def test_what_does_not_decide_is_not_part_of_the_key(tmp_path: Path) -> None:
    base = prepared(tmp_path / "a")
    assert prepared(tmp_path / "b", progress=lambda *_: None).fingerprint == base.fingerprint


def test_the_format_of_the_code_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = prepared(tmp_path)
    monkeypatch.setattr("tide_core.data.prepared.FORMAT", 99)
    assert prepared(tmp_path).fingerprint != base.fingerprint


def race(cache: str, log: str, results: Any) -> None:
    dataset = Listed(pairs=PAIRS, seconds=0.02)
    results.put((prepared(Path(cache), dataset, Path(log)).fingerprint, os.getpid()))


def test_of_two_processes_one_writes_and_the_other_waits(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (str(tmp_path / "cache"), str(tmp_path / "log"), results)
    racers = [context.Process(target=race, args=arguments) for _ in range(2)]
    for racer in racers:
        racer.start()
    outcomes = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(timeout=60)
    assert len({fingerprint for fingerprint, _ in outcomes}) == 1
    assert len({process for _, process in outcomes}) == 2
    assert encoded(tmp_path / "log") == 12


def slowly(cache: str) -> None:
    prepared(Path(cache), Listed(pairs=PAIRS * 300, seconds=0.05))


def test_a_killed_writer_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    writer = multiprocessing.get_context("spawn").Process(target=slowly, args=(str(tmp_path),))
    writer.start()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*.partial")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert list(tmp_path.glob("*.partial"))
    dataset = Listed(pairs=PAIRS * 300)
    assert len(prepared(tmp_path, dataset)) == 3600
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", [store.ROWS, store.REPORT])
def test_a_damaged_entry_is_made_again(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    data = prepared(tmp_path)
    file = tmp_path / data.fingerprint / name
    file.write_bytes(file.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING):
        again = prepared(tmp_path)
    assert "is damaged" in caplog.text
    assert len(again.rows(range(12))) == 12


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(store, "_write_rows", full)
        with pytest.raises(DataError, match=r"cache of encoded examples cannot be written: No space left on device"):
            prepared(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert len(prepared(tmp_path)) == 12, "and the next call starts afresh"


def test_a_cache_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/.*cannot be written: "):
        prepared(tmp_path / "file")


def test_rows_are_views_of_the_file(tmp_path: Path) -> None:
    before = pa.total_allocated_bytes()
    data = prepared(tmp_path)
    data.rows(range(12))
    (row,) = data.rows([3])
    assert not row.student.ids.flags.owndata
    assert not row.student.ids.flags.writeable
    del data
    assert pa.total_allocated_bytes() - before < 4096
