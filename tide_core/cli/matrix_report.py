"""``tide matrix report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import load_registry, plugin_option

if TYPE_CHECKING:
    from ..matrix_report.report import Report


@click.command()
@click.argument("file", type=click.Path(), metavar="FILE")
@plugin_option
@click.option("-o", "--output", metavar="FOLDER", help="Default: report/ in the matrix' folder.")
@click.option(
    "--baseline",
    default="",
    metavar="LABEL",
    help="The objective without distillation; default: the one that asks no teacher.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="EVALUATOR/METRIC",
    help="Compare this one. Repeatable; default: all whose better direction is known.",
)
@click.option(
    "--better",
    multiple=True,
    metavar="METRIC=lower|higher",
    help="Which way a metric is better, where its evaluator does not say. Repeatable.",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="METRIC=METRIC",
    help="Weigh a metric's documents by another's numbers. Repeatable.",
)
@click.option(
    "--objective-axis", default="", metavar="AXIS", help="The axis whose labels are compared; default: objective."
)
@click.option(
    "--teacher-axis",
    "teacher_axes",
    multiple=True,
    metavar="AXIS",
    help="An axis that a run without a teacher "
    "does not depend on; the first is the rows of heat maps. Repeatable; default: teacher.",
)
@click.option("--student-axis", default="", metavar="AXIS", help="The columns of heat maps; default: student.")
@click.option(
    "--seed-axis", default="", metavar="AXIS", help="The axis of repetitions; default: seed or training.seed."
)
@click.option("--replicates", type=click.IntRange(min=200), default=2000, show_default=True, help="Of the bootstrap.")
def command(
    file: str,
    plugins: tuple[str, ...],
    output: str | None,
    better: tuple[str, ...],
    weights: tuple[str, ...],
    **given: object,
) -> None:
    """Compare the objectives of a matrix with the same runs without distillation, in Markdown, as a page and as a table.

    Cells that are not finished are named, with the reason.

    \b
    Example:
      tide matrix report matrix.yaml
      tide matrix report matrix.yaml --metric bits_per_byte/bits_per_byte --baseline cross_entropy
    """
    from ..matrix.definition import load_matrix
    from ..matrix.results import load_results
    from ..matrix_report import ReportOptions, write_report

    loaded = load_matrix(file, registry=load_registry(plugins))
    options = ReportOptions(
        better=pairs("--better", better),  # type: ignore[arg-type]
        weights=pairs("--weights", weights),
        title=f"Matrix report: {Path(file).stem}",
        **given,  # type: ignore[arg-type]
    )
    folder = Path(output) if output else loaded.matrix.directory / "report"
    written = write_report(load_results(loaded.matrix), options, folder)
    for line in summary(written.report):
        click.echo(line)
    for path in (written.markdown, written.page, written.effects):
        click.echo(f"written: {path}")


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """Return ``NAME=VALUE`` as a mapping. Raises ``ConfigError`` for what has no value."""
    from tide_specs import ConfigError

    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{option} {text}: is not of the form NAME=VALUE")
        found[name] = value
    return found


def summary(report: Report) -> list[str]:
    """Return the verdicts, and how many cells are behind them."""
    lines = [", ".join(f"{count} {status}" for status, count in report.counts.items() if count)]
    for metric in report.metrics:
        lines.append(f"{metric.name} ({metric.better} is better), against {report.baseline}:")
        lines += [f"  {verdict.objective}: {verdict.headline}" for verdict in metric.verdicts]
        if metric.missing:
            lines.append(f"  finished cells without a number: {', '.join(one.cell for one in metric.missing)}")
    return lines
