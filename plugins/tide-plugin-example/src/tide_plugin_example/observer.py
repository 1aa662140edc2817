"""An observer: ``open`` returns the object that listens to one run and holds its state."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

from pydantic import Field
from tide_specs import MetricsLogged, Observer, hookimpl


class MetricsTable(Observer):
    """Appends every logged metric to a CSV file in the run's directory: step, metric, value."""

    name: Literal["example_table"] = "example_table"
    file: str = Field(default="metrics.csv", description="name of the file")

    def open(self, directory: str) -> object:
        """Return the listener of one run."""
        return Table(Path(directory) / self.file)


class Table:
    """Listens to one run; opens its file for each event, so that nothing is lost when the run is killed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @hookimpl
    def tide_metrics_logged(self, event: MetricsLogged) -> None:
        """Append one line for each metric."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows((event.step, name, value) for name, value in event.metrics.items())


@hookimpl
def tide_observers() -> list[type[Observer]]:
    """Offer the observer."""
    return [MetricsTable]
