"""The hooks that a run calls while it goes on; the object that ``Observer.open`` returns implements those it needs.

Each docstring below holds a complete plugin, which the test suite extracts, runs and holds against the conformance kit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .markers import hookspec

if TYPE_CHECKING:
    from .events import CheckpointSaved, EvaluationFinished, MetricsLogged, RunFinished, RunStarted, StepFinished


class LifecycleHooks:
    """Hooks that the object returned by ``Observer.open`` may implement."""

    @hookspec
    def tide_run_started(self, event: RunStarted) -> None:
        r'''Training is about to begin.

        ```python
        from pathlib import Path
        from typing import Literal

        from tide_specs import Observer, hookimpl


        class Versions(Observer):
            """Notes which components a run was made of."""

            name: Literal["versions"] = "versions"

            def open(self, directory):
                return Listener(Path(directory))


        class Listener:
            def __init__(self, directory):
                self.directory = directory

            @hookimpl
            def tide_run_started(self, event):
                lines = [f"{part['kind']} {part['name']} version {part['version']}" for part in event.components]
                (self.directory / "versions.txt").write_text("\n".join(lines), encoding="utf-8")


        @hookimpl
        def tide_observers():
            return [Versions]
        ```
        '''

    @hookspec
    def tide_step_finished(self, event: StepFinished) -> None:
        r'''An optimizer step is done.

        ```python
        from pathlib import Path
        from typing import Literal

        from tide_specs import Observer, hookimpl


        class Heartbeat(Observer):
            """Touches a file after every step, so that a watchdog sees that the run is alive."""

            name: Literal["heartbeat"] = "heartbeat"

            def open(self, directory):
                return Listener(Path(directory))


        class Listener:
            def __init__(self, directory):
                self.directory = directory

            @hookimpl
            def tide_step_finished(self, event):
                (self.directory / "heartbeat").touch()


        @hookimpl
        def tide_observers():
            return [Heartbeat]
        ```
        '''

    @hookspec
    def tide_metrics_logged(self, event: MetricsLogged) -> None:
        r'''An interval's means are known.

        ```python
        from pathlib import Path
        from typing import Literal

        from tide_specs import Observer, hookimpl


        class BestLoss(Observer):
            """Remembers the lowest loss of a run."""

            name: Literal["best_loss"] = "best_loss"

            def open(self, directory):
                return Listener(Path(directory))


        class Listener:
            def __init__(self, directory):
                self.directory = directory
                self.best = float("inf")

            @hookimpl
            def tide_metrics_logged(self, event):
                self.best = min(self.best, event.metrics["loss"])
                (self.directory / "best.txt").write_text(f"{self.best}", encoding="utf-8")


        @hookimpl
        def tide_observers():
            return [BestLoss]
        ```
        '''

    @hookspec
    def tide_checkpoint_saved(self, event: CheckpointSaved) -> None:
        r'''A checkpoint is complete on disk.

        ```python
        from pathlib import Path
        from typing import Literal

        from tide_specs import Observer, hookimpl


        class Sizes(Observer):
            """Notes how many bytes each checkpoint takes."""

            name: Literal["sizes"] = "sizes"

            def open(self, directory):
                return Listener(Path(directory))


        class Listener:
            def __init__(self, directory):
                self.directory = directory

            @hookimpl
            def tide_checkpoint_saved(self, event):
                size = sum(file.stat().st_size for file in Path(event.path).rglob("*") if file.is_file())
                with (self.directory / "sizes.txt").open("a", encoding="utf-8") as lines:
                    lines.write(f"{event.step} {size}\n")


        @hookimpl
        def tide_observers():
            return [Sizes]
        ```
        '''

    @hookspec
    def tide_evaluation_finished(self, event: EvaluationFinished) -> None:
        r'''An evaluator has finished.

        ```python
        from pathlib import Path
        from typing import Literal

        from tide_specs import Observer, hookimpl


        class Scores(Observer):
            """Writes every score with its interval into a text file."""

            name: Literal["scores"] = "scores"

            def open(self, directory):
                return Listener(Path(directory))


        class Listener:
            def __init__(self, directory):
                self.directory = directory

            @hookimpl
            def tide_evaluation_finished(self, event):
                with (self.directory / "scores.txt").open("a", encoding="utf-8") as lines:
                    for metric, estimate in event.evaluation.metrics.items():
                        lines.write(f"{event.step} {metric} {estimate.value} {estimate.low} {estimate.high}\n")


        @hookimpl
        def tide_observers():
            return [Scores]
        ```
        '''

    @hookspec
    def tide_run_finished(self, event: RunFinished) -> None:
        r'''The run is over, however it ended.

        ```python
        from pathlib import Path
        from typing import Literal

        from tide_specs import Observer, hookimpl


        class Verdict(Observer):
            """Leaves a file that says how the run ended, for scripts that wait for it."""

            name: Literal["verdict"] = "verdict"

            def open(self, directory):
                return Listener(Path(directory))


        class Listener:
            def __init__(self, directory):
                self.directory = directory

            @hookimpl
            def tide_run_finished(self, event):
                (self.directory / "verdict").write_text(event.error or event.status, encoding="utf-8")


        @hookimpl
        def tide_observers():
            return [Verdict]
        ```
        '''
