"""An observer: logged metrics as a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tide_specs import MetricsLogged, Observer, RunStarted, hookimpl


class Spreadsheet(Observer):
    """Appends ``step,metric,value`` to ``metrics.csv`` in the run's folder."""

    name: Literal["spreadsheet"] = "spreadsheet"

    def open(self, directory: str) -> object:
        """Return the listener, which holds the state."""
        return _Listener(Path(directory) / "metrics.csv")


class _Listener:
    def __init__(self, path: Path) -> None:
        self.path = path

    @hookimpl
    def tide_run_started(self, event: RunStarted) -> None:
        """Begin a file; a resumed run goes on in the one it has."""
        if event.first_step == 0 or not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("step,metric,value\n", encoding="utf-8")

    @hookimpl
    def tide_metrics_logged(self, event: MetricsLogged) -> None:
        """Write a line per metric."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(f'{event.step},"{name}",{value}\n' for name, value in event.metrics.items())


@hookimpl
def tide_observers() -> list[type[Spreadsheet]]:
    """Contribute the observer."""
    return [Spreadsheet]
