"""A run can be found, read and compared in MLflow."""

import os
import socket
import sys

import pytest
from mlflow import MlflowClient

from tide_core.observing import Observers
from tide_plugins.observers import MLflow
from tide_plugins.observers.curves import draw
from tide_plugins.observers.tracking_store import PARAMETER_LENGTH, flatten
from tide_specs import CheckpointSaved, Estimate, Evaluation, EvaluationFinished, MetricsLogged, RunFinished, RunStarted

CONFIG = {
    "training": {"steps": 10, "betas": [0.9, 0.95]},
    "losses": [{"name": "calm"}],
    "long": "x" * 9000,
    "data": {"name": "jsonl", "path": "t.jsonl"},
    "none": None,
}
COMPONENT = {
    "kind": "loss",
    "name": "calm",
    "version": 3,
    "distribution": "tide-distill",
    "distribution_version": "0.1.0",
}


def start(directory, config=CONFIG, first_step=0):
    return RunStarted(
        run_id="run-1",
        directory=str(directory),
        config=config,
        facts={"data": "abc123", "versions": {"torch": "2.13"}},
        components=[COMPONENT],
        total_steps=10,
        first_step=first_step,
    )


def log_half(observers, steps):
    for step in steps:
        observers.send(MetricsLogged(step=step, total_steps=10, metrics={"loss": 1.0 / step, "loss/calm": 0.5}))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Creating the tables takes seconds, so the tests share one store: a run, interrupted, then resumed."""
    directory = tmp_path_factory.mktemp("runs") / "first"
    directory.mkdir()
    observers = Observers([MLflow(experiment="e", system_metrics=True)])
    observers.send(start(directory))
    log_half(observers, [1, 2, 3])
    observers.send(CheckpointSaved(step=2, path="somewhere/step-2"))
    observers.send(RunFinished(status="interrupted", step=3))
    client = MlflowClient(tracking_uri=f"sqlite:///{directory.parent / 'mlflow.db'}")
    status = client.search_runs([client.get_experiment_by_name("e").experiment_id])[0].info.status
    resumed = Observers([MLflow(experiment="e", system_metrics=False)])
    resumed.send(start(directory, {**CONFIG, "training": {"steps": 20}}, first_step=2))
    log_half(resumed, [3, 4])
    evaluation = Evaluation(
        metrics={"bits_per_byte": Estimate(value=2.0, low=1.9, high=2.1), "bytes": Estimate(value=7.0)},
        tables={"examples": [{"key": "a", "bits": 1.5}, {"key": "b,c", "bits": 2.5}]},
        per_example={"bits": [1.5, float("nan")]},
    )
    resumed.send(EvaluationFinished(step=4, evaluator="bits_per_byte", evaluation=evaluation))
    card = directory / "card.md"
    card.write_text("# card")
    resumed.send(RunFinished(status="finished", step=4, artifacts={"card": str(card), "student": str(directory)}))
    assert observers.muted == resumed.muted == {}
    return client, directory, status


@pytest.fixture(scope="module")
def run(store):
    client, _, _ = store
    runs = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert len(runs) == 1, "a resumed run goes on in the same MLflow run"
    return runs[0]


def artifacts(client, run, folder=""):
    return {os.path.basename(entry.path) for entry in client.list_artifacts(run.info.run_id, folder)}


def read(client, run, path):
    with open(client.download_artifacts(run.info.run_id, path), encoding="utf-8") as stream:
        return stream.read()


def test_parameters_are_flat_and_long_ones_are_cut(run):
    assert run.data.params["training.betas.1"] == "0.95"
    assert run.data.params["losses.0.name"] == "calm"
    assert len(run.data.params["long"]) == PARAMETER_LENGTH


def test_a_parameter_changed_by_a_resumed_run_is_a_tag(run):
    assert run.data.params["training.steps"] == "10"
    assert run.data.tags["changed.training.steps"] == "20"


def test_versions_facts_and_checkpoints_are_tags(run):
    assert run.data.tags["component.loss.calm"] == "version 3, tide-distill 0.1.0"
    assert run.data.tags["facts.versions.torch"] == "2.13"
    assert run.data.tags["tide.checkpoint"] == "somewhere/step-2"
    assert run.data.tags["artifact.student"]


def test_the_data_and_its_hash_are_the_runs_dataset(store, run):
    dataset = store[0].get_run(run.info.run_id).inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("jsonl", "abc123")
    assert "t.jsonl" in dataset.source


def test_metrics_have_a_history_and_evaluations_an_interval(store, run):
    client, _, _ = store
    assert [m.step for m in client.get_metric_history(run.info.run_id, "loss/calm")] == [1, 2, 3, 3, 4]
    metrics = run.data.metrics
    assert (metrics["bits_per_byte_low"], metrics["bits_per_byte"], metrics["bits_per_byte_high"]) == (1.9, 2.0, 2.1)
    assert metrics["bits_per_byte/bytes"] == 7.0


def test_tables_config_and_plots_are_artifacts(store, run):
    client, directory, _ = store
    folder = "evaluation/bits_per_byte/step-4"
    assert read(client, run, f"{folder}/examples.csv") == 'key,bits\na,1.5\n"b,c",2.5\n'
    assert artifacts(client, run, folder) == {"examples.csv", "per_example.json"}
    assert "steps: 20" in read(client, run, "run.yaml")
    assert {"loss.png", "bits_per_byte.png"} <= artifacts(client, run, "plots")
    assert (directory / "plots" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "card.md" in artifacts(client, run, "files")


def test_the_status_follows_the_run(store, run):
    assert store[2] == "KILLED"
    assert run.info.status == "FINISHED"


def test_system_metrics_neither_fail_nor_show_in_the_plots(store, run):
    client, _, _ = store
    assert not any("system" in name for name in artifacts(client, run, "plots"))


def test_an_unreachable_server_is_named_at_once_and_muted(tmp_path, monkeypatch):
    for variable in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(variable, "1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    observers = Observers([MLflow(tracking_uri=f"http://127.0.0.1:{port}", timeout=2.0)])
    with pytest.warns(RuntimeWarning, match=r"'mlflow'.*does not answer within 2 s.*correct 'tracking_uri'"):
        observers.send(start(tmp_path))
    log_half(observers, [1])
    observers.send(RunFinished(status="finished", step=1))


def test_curves_leave_out_what_cannot_be_drawn(tmp_path):
    curves = {
        "loss": [(1, 2.0), (2, float("nan"))],
        "a/x": [(1, 1.0)],
        "a/x_low": [(1, 0.5)],
        "bad": [(1, float("inf"))],
    }
    assert [path.name for path in draw(curves, tmp_path)] == ["a.png", "loss.png"]


def test_flatten_keeps_empty_containers_visible():
    assert flatten({"a": {}, "b": [], "c": {"d": 1}}) == {"a": "{}", "b": "[]", "c.d": "1"}


def test_components_are_importable_without_mlflow():
    import subprocess

    code = "import sys, tide_plugins.observers; assert not {'mlflow', 'torch', 'rich', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
