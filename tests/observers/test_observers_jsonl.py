"""The event log survives what kills a run."""

import json
import math

import pytest

from tide_core.observing import Observers
from tide_plugins.observers import JsonLines
from tide_specs import Estimate, Evaluation, EvaluationFinished, MetricsLogged, RunFinished, RunStarted, StepFinished


def started(directory, first_step=0):
    component = {"kind": "loss", "name": "calm", "version": 1, "distribution": "d", "distribution_version": "1"}
    return RunStarted(
        run_id="r1",
        directory=str(directory),
        config={"training": {"steps": 10}},
        facts={"data": "abc"},
        components=[component],
        total_steps=10,
        first_step=first_step,
    )


def read(directory):
    return [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]


def test_every_event_is_one_line_and_is_on_disk_at_once(tmp_path):
    observers = Observers([JsonLines()])
    observers.send(started(tmp_path))
    observers.send(StepFinished(step=1, total_steps=10))
    observers.send(MetricsLogged(step=1, total_steps=10, metrics={"loss": 2.5}))
    lines = read(tmp_path)
    assert [line["event"] for line in lines] == ["run_started", "metrics_logged"]
    assert lines[1]["metrics"] == {"loss": 2.5}
    assert lines[0]["config"] == {"training": {"steps": 10}}
    evaluation = Evaluation(
        metrics={"bits_per_byte": Estimate(value=2.0, low=1.9, high=2.1)}, per_example={"bits": [1.0]}
    )
    observers.send(EvaluationFinished(step=1, evaluator="bits_per_byte", evaluation=evaluation))
    observers.send(RunFinished(status="finished", step=10))
    lines = read(tmp_path)
    assert lines[2]["evaluation"]["metrics"]["bits_per_byte"] == {"value": 2.0, "low": 1.9, "high": 2.1}
    assert lines[3]["status"] == "finished"


@pytest.mark.parametrize(("value", "written"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_numbers_that_json_lacks_stay_readable(tmp_path, value, written):
    observers = Observers([JsonLines()])
    observers.send(started(tmp_path))
    observers.send(MetricsLogged(step=1, total_steps=10, metrics={"loss": value}))
    assert read(tmp_path)[1]["metrics"]["loss"] == written


@pytest.mark.parametrize("tail", ['{"event": "metrics_lo', "x" * 200_000])
def test_resuming_appends_behind_the_last_whole_line(tmp_path, tail):
    first = Observers([JsonLines()])
    first.send(started(tmp_path))
    with (tmp_path / "events.jsonl").open("a") as stream:
        stream.write(tail)
    second = Observers([JsonLines()])
    second.send(started(tmp_path, first_step=5))
    assert [line["first_step"] for line in read(tmp_path)] == [0, 5]


def test_a_file_without_any_whole_line_is_emptied(tmp_path):
    (tmp_path / "events.jsonl").write_text('{"event": "run_st')
    Observers([JsonLines()]).send(started(tmp_path))
    assert len(read(tmp_path)) == 1


def test_steps_are_written_when_asked_for(tmp_path):
    observers = Observers([JsonLines(steps=True)])
    observers.send(started(tmp_path))
    observers.send(StepFinished(step=1, total_steps=10))
    assert read(tmp_path)[1]["event"] == "step_finished"
