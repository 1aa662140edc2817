"""Matrices of real runs: results, cells that die, and a matrix whose process is killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest

from tide_core.cli.main import call
from tide_core.matrix.definition import load_matrix
from tide_core.matrix.results import load_results
from tide_core.registry import Registry

PARTS = str(Path(__file__).parent / "tiny_parts.py")
RUN = """\
student: tiny_model
teacher: null
data: tiny_text
losses: [slow_loss]
training: {steps: 3, batch_size: 2, log_every: 1, workers: 0, device: cpu}
evaluation: [bits_per_byte]
observers: [keeper]
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover([PARTS], environment={"TIDE_LOAD_PLUGINS": ""})


def matrix(folder: Path, text: str) -> str:
    (folder / "run.yaml").write_text(RUN)
    (folder / "matrix.yaml").write_text(f"base: run.yaml\noutput: out\n{text}")
    return "matrix.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A matrix after its first call: one cell died once, one each time, one cannot read its data, one is impossible."""
    folder = tmp_path_factory.mktemp("matrix")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TINY_PARTS", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        (folder / "dies_once.fine").touch()
        (folder / "dies.always").touch()
        axes = "{fine: one, always: two, refused: none}"
        file = matrix(
            folder,
            f"axes: {{data.text: {axes}, losses: {{slow: [slow_loss], kl: [forward_kl]}}}}\n"
            "exclude: [{data.text: [always, refused], losses: kl}]\nworkers: 2\nretries: 1\n",
        )
        (folder / "code").write_text(str(call(["matrix", file, "--plugin", PARTS])))
    return folder


@pytest.fixture
def results(folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TINY_PARTS", str(folder))
    return {
        result.labels["data.text"] + "/" + result.labels["losses"]: result
        for result in load_results(load_matrix("matrix.yaml", registry=registry).matrix)
    }


def test_a_finished_cell_tells_what_it_found_out(results):
    fine = results["fine/slow"]
    assert fine.status == "finished"
    estimate = fine.metrics["bits_per_byte/bits_per_byte"]
    assert estimate.low < estimate.value < estimate.high
    assert len(fine.per_example["bits_per_byte/bits_per_byte"]) == 4
    assert [step for step, _ in fine.curves["loss"]] == [1, 2, 3]
    assert fine.curves["bits_per_byte/bits_per_byte"] == [(3, estimate.value)]
    assert (fine.teacher_forwards, fine.student_forwards) == (0, 3)
    assert fine.parameters > 0 and fine.seconds > 0
    assert fine.config_path.is_file() and fine.log_path.is_file()


def test_a_cell_that_dies_is_started_again_and_finished(results, folder):
    assert results["fine/slow"].status == "finished"
    assert (folder / "starts.fine").read_text() == "xx"


def test_a_cell_that_dies_each_time_has_failed_with_the_end_of_its_log(results, folder):
    always = results["always/slow"]
    assert always.status == "failed"
    first, *log = always.reason.splitlines()
    assert first == "its process was killed, most likely because memory ran out (attempt 2 of 2)"
    assert log == ["always is about to die"]
    assert (folder / "starts.always").read_text() == "xx"


def test_a_cell_that_is_refused_is_not_started_again(results, folder):
    refused = results["refused/slow"]
    assert refused.status == "failed"
    assert (
        refused.reason.startswith("its run ended with an error that would come again\n")
        and "ValueError: no text" in refused.reason
    )
    assert (folder / "starts.refused").read_text() == "x"


def test_an_impossible_cell_says_why_and_was_not_started(results, folder):
    kl = results["fine/kl"]
    assert kl.status == "impossible" and "has no teacher" in kl.reason
    assert len(list((folder / "out" / "cells").glob("fine-*"))) == 1
    assert (folder / "code").read_text() == "1"


def test_the_tables_have_a_row_for_each_cell_and_metric(results, folder):
    with (folder / "out" / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    values = {row["cell"]: row for row in rows if row["metric"] in ("bits_per_byte/bits_per_byte", "")}
    assert {cell: row["status"] for cell, row in values.items()} == {
        "fine--slow": "finished",
        "fine--kl": "impossible",
        "always--slow": "failed",
        "refused--slow": "failed",
    }
    assert float(values["fine--slow"]["value"]) == results["fine/slow"].metrics["bits_per_byte/bits_per_byte"].value
    assert values["fine--slow"]["axis.data.text"] == "fine"
    table = pyarrow.parquet.read_table(folder / "out" / "results.parquet")
    assert table.column_names == list(rows[0]) and table.num_rows == len(rows)
    assert str(table.schema.field("value").type) == "double"


def test_the_matrix_is_one_run_for_an_observer_that_nests_its_cells_under_it(folder):
    lines = (folder / "kept").read_text().splitlines()
    run_id = json.loads((folder / "out" / "matrix.json").read_text())["run_id"]
    assert lines[0] == f"started {run_id} under nothing, of 3"
    parts = [line.split(" under ")[1] for line in lines[1:] if " under " in line]
    assert parts == [f"{run_id}, of 3"], "three steps"
    assert lines[-1] == "failed ['results.csv', 'results.parquet'] could not be finished: always--slow, refused--slow"


def test_a_matrix_whose_process_is_killed_loses_no_finished_cell_and_goes_on(tmp_path, registry, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINY_PARTS", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    file = matrix(tmp_path, "axes: {training.steps: {quick: 1, long: 60}}\nworkers: 2\n")
    (tmp_path / "slow").touch()
    quick, long = (cell.directory for cell in load_matrix(file, registry=registry).matrix.cells)
    command = [sys.executable, "-m", "tide_core.cli.main", "matrix", "run", file, "--plugin", PARTS]
    parent = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(lambda: (quick / "result.json").exists() and "metrics_logged" in text(long / "events.jsonl"))
    child = int((long / ".pid").read_text().split()[1])
    assert call(["matrix", file, "--plugin", PARTS]) == 2, "another process runs this matrix"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not alive(child))
    kept = (quick / "result.json").read_bytes(), (quick / "log.txt").read_bytes()
    (tmp_path / "slow").unlink()
    assert call(["matrix", file, "--plugin", PARTS]) == 0
    assert ((quick / "result.json").read_bytes(), (quick / "log.txt").read_bytes()) == kept
    starts = [
        event for event in map(json.loads, text(long / "events.jsonl").splitlines()) if event["event"] == "run_started"
    ]
    assert [event["first_step"] > 0 for event in starts] == [False, True]
    finished = load_results(load_matrix(file, registry=registry).matrix)[1]
    assert [step for step, _ in finished.curves["loss"]] == list(range(1, 61))
    assert not list((tmp_path / "out").rglob(".*json*")), "no half-written file is left"


def wait_for(what, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in text(Path(f"/proc/{process}/status"))
