"""``tide matrix plan``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .common import console, load_registry, plugin_option, print_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..matrix.definition import LoadedMatrix
    from ..matrix.plan import MatrixPlan
    from ..registry import Registry

SHOWN = 3
"""Cells that are named for one reason; the others are counted."""


@click.command()
@click.argument("file", type=click.Path(), metavar="FILE")
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(file: str, plugins: tuple[str, ...], as_json: bool) -> None:
    """Show what the cells of FILE are and what is still to do. No model is loaded, nothing is written.

    Hours are measured on finished cells; before there are any, FILE may say what a worker computes (flops_per_second).

    \b
    Example:
      tide matrix plan matrix.yaml
    """
    from ..matrix.definition import load_matrix

    registry = load_registry(plugins)
    loaded = load_matrix(file, registry=registry)
    print_warnings(loaded.warnings)
    print_plan(loaded, registry, as_json=as_json)


def print_plan(loaded: LoadedMatrix, registry: Registry, *, as_json: bool = False) -> None:
    """Print what is to do."""
    from rich.table import Table
    from rich.text import Text

    from ..matrix.plan import plan_matrix

    plan = plan_matrix(loaded, registry)
    if as_json:
        from dataclasses import asdict

        click.echo(json.dumps({**asdict(plan), "hours": plan.hours}, indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for axis, labels in loaded.matrix.axes.items():
        table.add_row(Text(axis), Text(", ".join(labels)))
    for name, value in _lines(plan):
        table.add_row(name, Text(value))
    out = console()
    out.print(table)
    for reason, cells in plan.impossible.items():
        more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
        out.print(Text(f"impossible: {', '.join(cells[:SHOWN])}{more}: {reason}"))


def _lines(plan: MatrixPlan) -> Iterator[tuple[str, str]]:
    from .plan import quantity

    impossible = sum(map(len, plan.impossible.values()))
    yield "cells", f"{plan.cells}: {plan.finished} finished, {len(plan.todo)} to run, {impossible} impossible"
    if not plan.todo:
        return
    yield "teacher forwards", f"{plan.teacher_forwards:,}"
    yield "student forwards", f"{plan.student_forwards:,}"
    yield "arithmetic", f"{quantity(plan.flops)} FLOPs"
    hours = "unknown" if plan.hours is None else f"about {plan.hours:.2g}"
    yield "hours", f"{hours} on {plan.workers} worker{'s' if plan.workers > 1 else ''} ({plan.basis})"
    largest, together = plan.memory
    yield "memory, about", f"{quantity(largest, 'B')} for the largest cell, {quantity(together, 'B')} at once"
