"""What a user sees while a run goes on."""

import io

from rich.console import Console

from tide_plugins.observers.progress_display import LiveBar, PlainLines, describe_evaluation, open_display
from tide_specs import (
    CheckpointSaved,
    Estimate,
    Evaluation,
    EvaluationFinished,
    MetricsLogged,
    RunFinished,
    RunStarted,
    StepFinished,
)

START = RunStarted(run_id="r", directory="d", config={}, facts={}, components=[], total_steps=4)
METRICS = {"loss": 2.31, "loss/cross_entropy": 2.1, "loss/reverse_calm": 0.21, "tokens_per_second": 1234.5}


def play(listener):
    listener.tide_run_started(START)
    if hasattr(listener, "tide_step_finished"):
        listener.tide_step_finished(StepFinished(step=1, total_steps=4))
    listener.tide_metrics_logged(MetricsLogged(step=2, total_steps=4, metrics=METRICS))
    evaluation = Evaluation(
        metrics={"bits_per_byte": Estimate(value=2.0, low=1.9, high=2.1), "bytes": Estimate(value=9.0)}
    )
    listener.tide_evaluation_finished(EvaluationFinished(step=2, evaluator="bits_per_byte", evaluation=evaluation))
    listener.tide_checkpoint_saved(CheckpointSaved(step=4, path="d/step-4"))
    listener.tide_run_finished(RunFinished(status="failed", step=4, error="loss is [not finite]"))


def test_plain_lines_where_there_is_no_terminal():
    text = io.StringIO()
    display = open_display("auto", 4.0, Console(file=text, width=40))
    assert isinstance(display, PlainLines)
    play(display)
    lines = text.getvalue().splitlines()
    assert lines[1].startswith("step 2/4  loss 2.310  cross_entropy 2.100  reverse_calm 0.210  1,23")
    assert lines[1].endswith(" left")
    assert lines[2] == "step 2  bits_per_byte: bits_per_byte 2 [1.9, 2.1]"
    assert lines[3] == "step 4  checkpoint saved in d/step-4"
    assert lines[4] == "run failed at step 4: loss is [not finite]"


def test_a_live_bar_on_a_terminal():
    text = io.StringIO()
    display = open_display("auto", 4.0, Console(file=text, force_terminal=True, width=120))
    assert isinstance(display, LiveBar)
    play(display)
    assert "2/4" in text.getvalue()
    assert "cross_entropy 2.100" in text.getvalue()
    assert "run failed at step 4" in text.getvalue()


def test_metrics_without_any_interval_are_shown():
    event = EvaluationFinished(
        step=2, evaluator="code", evaluation=Evaluation(metrics={"pass_rate": Estimate(value=0.25)})
    )
    assert describe_evaluation(event) == "step 2  code: pass_rate 0.25"
