"""``tide matrix run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .common import INTERRUPTED, console, load_registry, plugin_option, print_warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..matrix.cells import Cell, Matrix
    from ..matrix.results import CellResult

FAILED = 1
"""Exit code when a cell could not be finished."""


@click.command()
@click.argument("file", type=click.Path(), metavar="FILE")
@plugin_option
def command(file: str, plugins: tuple[str, ...]) -> int:
    """Run every cell of FILE that is possible and not finished. The same command goes on after an interruption.

    The plan is shown first. Cells run in processes of their own; results.csv and results.parquet hold what all of them
    found out.

    \b
    Example:
      tide matrix run matrix.yaml
    """
    from ..matrix.definition import load_matrix
    from ..matrix.results import load_results
    from ..matrix.run import run_matrix
    from .matrix_plan import print_plan

    registry = load_registry(plugins)
    loaded = load_matrix(file, registry=registry)
    print_warnings(loaded.warnings)
    print_plan(loaded, registry)
    watch = Speaker()
    try:
        run_matrix(loaded, registry, plugins, watch)
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on with the cells that are not finished", err=True)
        return INTERRUPTED
    results = load_results(loaded.matrix)
    print_results(loaded.matrix, results)
    return FAILED if any(result.status == "failed" for result in results) else 0


class Speaker:
    """Says on stderr how the work goes on, a line for each thing that happens."""

    def started(self, cell: Cell, attempt: int) -> None:
        """Say that a cell was started."""
        again = f" (attempt {attempt})" if attempt > 1 else ""
        click.echo(f"{cell.id}: started{again}, log: {cell.directory}/log.txt", err=True)

    def ended(self, cell: Cell, result: CellResult, done: int, total: int) -> None:
        """Say how a cell ended."""
        told = f"finished in {duration(result.seconds)}" if result.status == "finished" else f"failed: {result.reason}"
        click.echo(f"[{done}/{total}] {cell.id}: {indented(told)}", err=True)

    def died(self, cell: Cell, reason: str) -> None:
        """Say why a cell is started again."""
        click.echo(f"{cell.id}: will be started again: {indented(reason)}", err=True)


def indented(text: str) -> str:
    """Return a text whose further lines are set off."""
    return text.replace("\n", "\n    ")


def duration(seconds: float) -> str:
    """``3725`` -> ``1 h 2 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def print_results(matrix: Matrix, results: Sequence[CellResult]) -> None:
    """Print one row per cell, and where everything is."""
    from rich.table import Table
    from rich.text import Text

    metrics = list(dict.fromkeys(name for result in results for name in result.metrics))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (*matrix.axes, "status", *metrics):
        table.add_column(Text(column), justify="right" if column in metrics else "left")
    for result in results:
        values = [result.metrics.get(name) for name in metrics]
        numbers = ["" if estimate is None else f"{estimate.value:.4g}" for estimate in values]
        table.add_row(*(Text(cell) for cell in (*result.labels.values(), result.status, *numbers)))
    out = console()
    out.print(table)
    out.print(f"matrix folder: {matrix.directory}")
