"""What is read from the event log of a run that was interrupted and repeated some steps."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock

from tide_core.matrix.recording import measured, read_events, seconds_of_parts


def evaluated(step: int, value: float) -> dict[str, object]:
    estimate = {"value": value, "low": None, "high": None}
    found = {"metrics": {"bits": estimate}, "per_example": {"bits": [value, "NaN"]}, "better": {"bits": "lower"}}
    return {"event": "evaluation_finished", "step": step, "evaluator": "e", "evaluation": found}


def at(second: int, **event: object) -> dict[str, object]:
    return {"time": f"2026-01-01T00:00:{second:02d}+00:00", **event}


EVENTS = [
    at(0, event="run_started"),
    at(1, event="metrics_logged", step=1, metrics={"loss": 4.0}),
    at(2, event="metrics_logged", step=2, metrics={"loss": 3.0}),
    at(3, **evaluated(2, 9.0)),
    at(20, event="run_started"),
    at(21, event="metrics_logged", step=2, metrics={"loss": 2.5}),
    at(24, **evaluated(2, 8.0)),
    at(25, event="metrics_logged", step=3, metrics={"loss": 2.0}),
    at(26, **evaluated(3, 7.0)),
]


def test_a_repeated_step_counts_once_and_metrics_are_those_of_the_last_step() -> None:
    found = measured(EVENTS, 3)
    assert found["curves"] == {"loss": [(1, 4.0), (2, 2.5), (3, 2.0)], "e/bits": [(2, 8.0), (3, 7.0)]}
    assert found["metrics"] == {"e/bits": {"value": 7.0, "low": None, "high": None}}
    assert found["per_example"] == {"e/bits": [7.0, "NaN"]}
    assert found["better"] == {"e/bits": "lower"}


def test_the_time_between_two_parts_does_not_count() -> None:
    second_part = 1767225615.0  # 2026-01-01T00:00:15Z
    assert seconds_of_parts(EVENTS, second_part) == 3
    assert seconds_of_parts(EVENTS, second_part + 60) == 3 + 6


def test_a_half_written_line_is_no_event(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(json.dumps(EVENTS[0]) + '\n{"event": "metr')
    assert read_events(tmp_path) == EVENTS[:1]
    assert read_events(tmp_path / "absent") == []


def test_a_second_process_waits_and_takes_over_what_the_first_one_finished(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"identity": "same"}')
    (tmp_path / ".pid").write_text("process 1 on this machine")
    lock = FileLock(tmp_path / ".lock")
    with lock:
        command = [sys.executable, "-m", "tide_core.matrix.cell_process", str(tmp_path)]
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        assert second.stderr.readline() == "waiting for process 1 on this machine\n"
        time.sleep(0.2)
        assert second.poll() is None
        (tmp_path / "result.json").write_text('{"identity": "same"}')
    assert second.wait(120) == 0, "nothing else of the job was needed"
