"""Tracking with MLflow: parameters, versions, metrics, tables, checkpoints and plots of a run."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat

from tide_specs import Observer


class MLflow(Observer):
    """Log the run to MLflow; by default to a sqlite store beside the run's directory, where runs can be compared.

    Logs the run file's parameters and the resolved file itself, every component's version and distribution, facts such as
    the hash of the data, metrics per loss term, evaluations with their intervals, tables, where checkpoints lie, and
    plots of the curves. A resumed run goes on in the same MLflow run. The cells of a matrix are child runs of one run, which is
    the matrix'. A server that does not answer is reported at once.
    """

    name: Literal["mlflow"] = "mlflow"
    requires: ClassVar[tuple[str, ...]] = ("mlflow",)
    nests: ClassVar[bool] = True

    experiment: str = Field(default="tide", description="MLflow experiment that the run belongs to")
    tracking_uri: str | None = Field(
        default=None, description="MLflow store or server; default: mlflow.db in the parent of the run's directory"
    )
    run_name: str | None = Field(default=None, description="name of the MLflow run; default: the run's directory")
    system_metrics: bool = Field(default=True, description="sample processor, memory, disk and GPU use")
    parent_run: str | None = Field(
        default=None, description="TIDE's id of the run that this one is shown under; a matrix sets it for its cells"
    )
    timeout: PositiveFloat = Field(default=10.0, description="seconds to wait for a tracking server before giving up")

    def open(self, directory: str) -> object:
        """Return the listener; nothing is contacted before the run starts."""
        from .tracked_run import TrackedRun

        return TrackedRun(self, directory)

    def within(self, whole: str, directory: str) -> Observer:
        """Return the observer of a part, which goes into the whole's store, under the whole's run."""
        from .tracking_store import Store

        uri = self.tracking_uri or Store.beside(directory).uri
        return self.model_copy(update={"parent_run": whole, "tracking_uri": uri})
