"""The listener behind the ``mlflow`` observer: one lifecycle event in, a few MLflow calls out."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, Run, RunTag
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from tide_specs import (
    CheckpointSaved,
    EvaluationFinished,
    MetricsLogged,
    RunFinished,
    RunStarted,
    hookimpl,
)

from .curves import draw
from .event_log import plain
from .tracking_store import Store, flatten, limit_requests, require_server, safe_key, shorten

if TYPE_CHECKING:
    from .tracking import MLflow

STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
RUN_TAG = "tide.run_id"


class TrackedRun:
    """Listener that mirrors one run into MLflow. Uses a client of its own, never MLflow's global run."""

    def __init__(self, options: MLflow, directory: str) -> None:
        self._options = options
        self._directory = Path(directory)
        self._store = Store.beside(directory) if options.tracking_uri is None else Store(uri=options.tracking_uri)
        self._run = ""
        self._monitor: SystemMetricsMonitor | None = None

    @property
    def _client(self) -> Any:
        # MLflow's client is only partly annotated.
        return MlflowClient(tracking_uri=self._store.uri)

    @hookimpl
    def tide_run_started(self, event: RunStarted) -> None:
        """Create the run, or find the one that is resumed, and log what is known before the first step."""
        limit_requests(self._options.timeout)
        require_server(self._store.uri, self._options.timeout)
        experiment = self._store.experiment(self._options.experiment)
        run = self._find(experiment, event.run_id) or self._create(experiment, event.run_id)
        self._run = run.info.run_id
        self._log_parameters(event.config, run.data.params)
        self._log_tags(
            {**_versions(event.components), **flatten(event.facts, "facts"), "tide.directory": event.directory}
        )
        self._log_dataset(event)
        self._client.log_text(self._run, yaml.safe_dump(plain(event.config), sort_keys=False), "run.yaml")
        self._client.log_text(self._run, json.dumps(plain(event.components), indent=1), "components.json")
        if self._options.system_metrics:
            self._monitor = SystemMetricsMonitor(self._run, resume_logging=True, tracking_uri=self._store.uri)
            self._monitor.start()

    @hookimpl
    def tide_metrics_logged(self, event: MetricsLogged) -> None:
        """Log an interval's means."""
        self._log_metrics(event.metrics, event.step)

    @hookimpl
    def tide_evaluation_finished(self, event: EvaluationFinished) -> None:
        """Log metrics, with their intervals as ``*_low`` and ``*_high``, and tables as files."""
        values: dict[str, float] = {}
        for name, estimate in event.evaluation.metrics.items():
            key = name if name == event.evaluator else f"{event.evaluator}/{name}"
            bounds = {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
            values |= {k: v for k, v in bounds.items() if v is not None}
        self._log_metrics(values, event.step)
        folder = f"evaluation/{event.evaluator}/step-{event.step}"
        for name, rows in event.evaluation.tables.items():
            self._client.log_text(self._run, _as_csv(rows), f"{folder}/{name}.csv")
        if event.evaluation.per_example:
            text = json.dumps(plain(event.evaluation.per_example))
            self._client.log_text(self._run, text, f"{folder}/per_example.json")

    @hookimpl
    def tide_checkpoint_saved(self, event: CheckpointSaved) -> None:
        """Note where the newest checkpoint lies; its files stay where they are."""
        self._log_tags({"tide.checkpoint": event.path, "tide.checkpoint_step": str(event.step)})

    @hookimpl
    def tide_run_finished(self, event: RunFinished) -> None:
        """Log curves, artifacts and how the run ended."""
        if not self._run:
            return
        if self._monitor is not None:
            self._monitor.finish()
        if event.error:
            self._log_tags({"tide.error": event.error})
        for path in draw(self._histories(), self._directory / "plots"):
            self._client.log_artifact(self._run, str(path), "plots")
        for name, path in event.artifacts.items():
            self._log_file(name, path)
        self._client.set_terminated(self._run, STATUS[event.status])

    def _find(self, experiment: str, run_id: str) -> Run | None:
        found = self._search(experiment, run_id)
        if found is not None:
            self._client.update_run(found.info.run_id, status="RUNNING")
        return found

    def _search(self, experiment: str, run_id: str) -> Run | None:
        found = self._client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run_id}'", max_results=1)
        return found[0] if found else None

    def _create(self, experiment: str, run_id: str) -> Run:
        name = self._options.run_name or self._directory.resolve().name
        tags = {RUN_TAG: run_id}
        parent = self._search(experiment, self._options.parent_run) if self._options.parent_run else None
        if parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = parent.info.run_id
        return self._client.create_run(experiment, run_name=name, tags=tags)

    def _log_parameters(self, config: Mapping[str, Any], logged: Mapping[str, str]) -> None:
        parameters = flatten(config)
        new = [Param(key, value) for key, value in parameters.items() if key not in logged]
        for start in range(0, len(new), 100):
            self._client.log_batch(self._run, params=new[start : start + 100])
        # MLflow never overwrites a parameter: what a resumed run changed becomes a tag.
        changed = {k: v for k, v in parameters.items() if k in logged and logged[k] != v}
        self._log_tags({f"changed.{key}": value for key, value in changed.items()})

    def _log_dataset(self, event: RunStarted) -> None:
        """Log which data the run sees, so that MLflow can show and filter runs by it."""
        data, digest = event.config.get("data"), event.facts.get("data")
        if isinstance(data, Mapping) and isinstance(digest, str):
            options = cast("Mapping[str, object]", data)
            record = Dataset(
                name=str(options.get("name")), digest=digest[:36], source_type="tide", source=json.dumps(plain(options))
            )
            self._client.log_inputs(self._run, [DatasetInput(record)])

    def _log_tags(self, tags: Mapping[str, str]) -> None:
        records = [RunTag(safe_key(key), shorten(value, 4000)) for key, value in tags.items()]
        for start in range(0, len(records), 100):
            self._client.log_batch(self._run, tags=records[start : start + 100])

    def _log_metrics(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(safe_key(key), float(value), now, step) for key, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def _histories(self) -> dict[str, list[tuple[int, float]]]:
        """Return every curve as (step, value); of a step that a resumed run repeated, the newest value."""
        client = self._client
        histories: dict[str, list[tuple[int, float]]] = {}
        for key in client.get_run(self._run).data.metrics:
            if not key.startswith("system/"):
                points = sorted(client.get_metric_history(self._run, key), key=lambda m: (m.step, m.timestamp))
                histories[key] = list({point.step: (point.step, point.value) for point in points}.values())
        return histories

    def _log_file(self, name: str, path: str) -> None:
        if os.path.isfile(path):
            self._client.log_artifact(self._run, path, "files")
        else:
            self._log_tags({f"artifact.{name}": path})


def _versions(components: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return one tag per component, e.g. ``component.loss.calm`` -> ``version 1, tide-distill 0.1.0``."""
    return {
        f"component.{record['kind']}.{record['name']}": (
            f"version {record.get('version')}, {record.get('distribution')} {record.get('distribution_version')}"
        )
        for record in components
    }


def _as_csv(rows: Sequence[Mapping[str, float | str]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
