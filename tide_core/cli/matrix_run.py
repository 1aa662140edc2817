"""``tide matrix run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .common import INTERRUPTED, console, load_registry, plugin_option, print_warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..matrix.cells import Matrix
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
    from .matrix_display import Display
    from .matrix_plan import print_plan

    registry = load_registry(plugins)
    loaded = load_matrix(file, registry=registry)
    print_warnings(loaded.warnings)
    print_plan(loaded, registry)
    try:
        with Display() as display:
            run_matrix(loaded, registry, plugins, display)
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on with the cells that are not finished", err=True)
        return INTERRUPTED
    results = load_results(loaded.matrix)
    print_results(loaded.matrix, results)
    return FAILED if any(result.status == "failed" for result in results) else 0


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
