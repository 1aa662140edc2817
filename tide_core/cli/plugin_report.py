"""What ``tide plugin check`` and ``tide plugin list`` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from ..discovery import PluginRecord
from ..plugin_check import Subject, checked, find_plugin, subjects
from ..registry import Registry

if TYPE_CHECKING:
    from rich.console import Console

    from tide_specs.testing import CheckResult

STYLES = {"passed": "green", "failed": "bold red", "skipped": "dim"}


def report(
    registry: Registry,
    target: str | None,
    options: Sequence[Mapping[str, Any]],
    *,
    verbose: bool,
    is_file: bool,
    console: Console,
) -> int:
    """Check plugins and print a table; return the exit code."""
    chosen = _chosen(registry, target, is_file=is_file)
    if not chosen:
        click.echo("no plugin is installed besides the bundled ones; name a file, or see tide plugin new", err=True)
        return 0
    failed = False
    for record in chosen:
        if record.skipped and target is None:
            failed = failed or not record.blocked
            continue
        failed = _report_plugin(record, subjects(record, options), console, verbose=verbose) or failed
    return int(failed)


def _chosen(registry: Registry, target: str | None, *, is_file: bool) -> list[PluginRecord]:
    if target is None:
        return [record for record in registry.plugins if not record.bundled]
    return [find_plugin(registry, Path(target).stem if is_file else target)]


def _report_plugin(record: PluginRecord, chosen: Sequence[Subject], console: Console, *, verbose: bool) -> bool:
    """Print one plugin's table and failures; return whether anything failed."""
    results: list[list[CheckResult]] = []
    with console.status("checking") as status:
        for subject in chosen:
            mine: list[CheckResult] = []
            for result in checked(subject):
                mine.append(result)
                status.update(f"{result.component}: {result.check}")
            results.append(mine)
    console.print(f"[bold]{escape(str(record))}[/bold]")
    console.print(_every_check(results) if verbose else _summary(results))
    notes = [*record.notes, *(f"{mine[0].component}: {mine[0].message}" for mine in results if mine[0].check == "-")]
    for note in notes:
        console.print(f"note: {escape(note)}")
    failures = [result for mine in results for result in mine if result.status == "failed"]
    for result in failures:
        console.print(f"[red]{escape(result.component)}: {result.check}[/red]\n  {escape(result.message)}")
    if not results:
        console.print("it offers no component")
    return bool(failures)


def _summary(results: Sequence[Sequence[CheckResult]]) -> Table:
    table = Table("component", "kind", "passed", "failed", "does not apply")
    for mine in results:
        count = {status: sum(result.status == status for result in mine) for status in STYLES}
        style = "red" if count["failed"] else ""
        row = (mine[0].component, mine[0].kind, str(count["passed"]), str(count["failed"]), str(count["skipped"]))
        table.add_row(*map(escape, row), style=style)
    return table


def _every_check(results: Sequence[Sequence[CheckResult]]) -> Table:
    table = Table("component", "kind", "check", "outcome", "why")
    for result in (result for mine in results for result in mine):
        why = "see below" if result.status == "failed" else escape(result.message)
        table.add_row(
            escape(result.component), result.kind, result.check, result.status, why, style=STYLES[result.status]
        )
    return table


def records(registry: Registry) -> list[dict[str, Any]]:
    """Return every plugin as plain data."""
    return [
        {
            "plugin": record.name,
            "distribution": record.distribution,
            "version": record.version,
            "bundled": record.bundled,
            "offers": _by_kind(record),
            "skipped": record.skipped,
            "notes": list(record.notes),
        }
        for record in registry.plugins
    ]


def _by_kind(record: PluginRecord) -> dict[str, list[str]]:
    offers: dict[str, list[str]] = {}
    for kind, name in record.offers:
        offers.setdefault(kind, []).append(name)
    return offers


def listing(registry: Registry, console: Console) -> None:
    """Print every plugin; third parties' first."""
    table = Table("plugin", "distribution", "offers", "remarks")
    for record in sorted(registry.plugins, key=lambda record: record.bundled):
        offers = "\n".join(f"{kind}: {', '.join(names)}" for kind, names in _by_kind(record).items())
        remarks = [f"[red]skipped: {escape(record.skipped)}[/red]"] if record.skipped else []
        remarks += [escape(note) for note in record.notes]
        where = " ".join(filter(None, (record.distribution, record.version)))
        table.add_row(escape(record.name), escape(where), escape(offers), "\n".join(remarks))
    console.print(table)
