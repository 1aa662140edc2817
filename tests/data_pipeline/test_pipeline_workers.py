from __future__ import annotations

import logging
import os
import signal
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pipeline_standins import CommonEnds, Listed, WideBytes, prepare

from tide_core.data import PreparedData, workers
from tide_specs import DataError, EncodedExample, Example, PluginError

PAIRS = tuple((f"prompt {n}", f"response number {n}") for n in range(700))


@pytest.fixture(autouse=True)
def _nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SMALL", 0)


def prepared(cache: Path, pairs: Sequence[tuple[str, str]] = PAIRS, **options: Any) -> PreparedData:
    arguments: dict[str, Any] = {"student": WideBytes(1), "teacher": WideBytes(2), "alignment": CommonEnds()} | options
    return prepare(Listed(pairs=tuple(pairs)), "train", cache_directory=str(cache), **arguments)


class WhoAmI(WideBytes):
    """Notes the process that encodes."""

    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        with open(str(self.log), "a") as file:
            file.write(f"{os.getpid()}\n")
        return [self._encode(example) for example in examples]


def test_workers_give_the_rows_that_one_process_gives(tmp_path: Path) -> None:
    log = tmp_path / "log"
    here = prepared(tmp_path / "here", workers=0)
    there = prepared(tmp_path / "there", workers=2, student=WhoAmI(log=str(log)))
    assert str(os.getpid()) not in log.read_text().split()
    assert here.report == there.report
    assert here.fingerprint == there.fingerprint
    for one, two in zip(here.rows(range(700)), there.rows(range(700)), strict=True):
        assert one.sample == two.sample
        assert one.student.ids.tolist() == two.student.ids.tolist()
        assert one.student.chunk.tolist() == two.student.chunk.tolist()


def test_a_small_dataset_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SMALL", 10**6)
    log = tmp_path / "log"
    prepared(tmp_path, workers=2, student=WhoAmI(log=str(log)))
    assert set(log.read_text().split()) == {str(os.getpid())}


def test_a_failure_in_a_worker_is_the_one_error(tmp_path: Path) -> None:
    pairs = [*PAIRS[:600], ("explode", "x"), *PAIRS[600:]]
    with pytest.raises(PluginError) as caught:
        prepared(tmp_path, pairs, workers=1)
    assert str(caught.value) == "list:601: this example cannot be encoded: RuntimeError: boom"
    with pytest.raises(DataError, match=r"list:1: the text contains the student's mask token"):
        prepared(tmp_path, workers=1, student=WideBytes(mask=ord("p")))


class Suicidal(WideBytes):
    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []


def test_a_worker_that_is_killed_does_not_hang_the_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a worker process died.*training.workers"):
        prepared(tmp_path, workers=1, student=Suicidal())


def test_what_cannot_travel_is_encoded_here_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Local(CommonEnds):
        pass

    assert len(prepared(tmp_path, workers=1, alignment=Local())) == 700
    assert "encoding in this process" in caplog.text
    caplog.clear()
    # a module that only this process knows, as a plugin given as a single file is
    plugin = types.ModuleType("only_known_here")
    monkeypatch.setitem(sys.modules, "only_known_here", plugin)
    Foreign = type("Foreign", (CommonEnds,), {"__module__": "only_known_here"})
    plugin.Foreign = Foreign  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        assert len(prepared(tmp_path, workers=1, alignment=Foreign())) == 700
    assert "only_known_here" in caplog.text
