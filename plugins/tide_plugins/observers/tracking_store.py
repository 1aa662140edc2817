"""Where MLflow keeps a run, and what its store accepts."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tide_specs import UnavailableError

PARAMETER_LENGTH = 500


@dataclass(frozen=True, kw_only=True)
class Store:
    """A tracking store. ``artifacts``: where a new experiment keeps its files; ``None`` leaves that to the server."""

    uri: str
    artifacts: str | None = None

    @classmethod
    def beside(cls, directory: str) -> Store:
        """Return the local store in the parent of a run's directory, so that runs can be compared."""
        parent = Path(directory).resolve().parent
        parent.mkdir(parents=True, exist_ok=True)
        return cls(uri=f"sqlite:///{parent / 'mlflow.db'}", artifacts=(parent / "mlartifacts").as_uri())

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, created where there is none."""
        # Creating the tables of a new store is announced at length otherwise, in the middle of a progress display.
        for noisy in ("mlflow.store.db.utils", "mlflow.system_metrics.system_metrics_monitor", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        client = MlflowClient(tracking_uri=self.uri)
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return client.create_experiment(name, artifact_location=self.artifacts)
        except MlflowException:
            # Two runs that start together both try; the loser uses the winner's.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)


def limit_requests(seconds: float) -> None:
    """Make MLflow's own HTTP calls give up soon, so that a dead server does not hold up training.

    MLflow reads these variables at every request; what the user set in the environment wins.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(max(1, round(seconds))))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


def require_server(uri: str, timeout: float) -> None:
    """Raise ``UnavailableError`` when ``uri`` names a server that does not answer; any HTTP answer will do."""
    if not uri.startswith(("http://", "https://")):
        return
    try:
        requests.get(uri.rstrip("/") + "/health", timeout=timeout)
    except requests.RequestException as error:
        raise UnavailableError(
            f"the MLflow tracking server {uri} does not answer within {timeout:g} s ({type(error).__name__}); start it, "
            "correct 'tracking_uri', or leave that option out to write a local store"
        ) from error


def shorten(text: str, limit: int) -> str:
    """Return ``text``, cut to ``limit`` characters with an ellipsis at the end."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def safe_key(key: str) -> str:
    """Return ``key`` with every character that MLflow refuses replaced by an underscore."""
    return re.sub(r"[^\w\-./: ]", "_", key, flags=re.ASCII)[:250]


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Return nested mappings and lists as one level of dotted keys; long values are cut.

    ``{"losses": [{"name": "calm"}]}`` becomes ``{"losses.0.name": "calm"}``.
    """
    children: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        children = [(str(key), item) for key, item in cast("Mapping[object, object]", value).items()]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        children = [(str(number), item) for number, item in enumerate(cast("Sequence[object]", value))]
    if not children:
        return {safe_key(prefix): shorten(str(value), PARAMETER_LENGTH)} if prefix else {}
    flat: dict[str, str] = {}
    for key, item in children:
        flat |= flatten(item, f"{prefix}.{key}" if prefix else key)
    return flat
