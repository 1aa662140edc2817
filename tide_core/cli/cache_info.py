"""``tide cache info``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..recording.measuring import Measure


@click.command()
@click.argument("path", type=click.Path(), metavar="PATH")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(path: str, as_json: bool) -> None:
    """Show what the cache at PATH was built from, how much of it is there, and how large it is.

    \b
    Example:
      tide cache info caches/teacher
    """
    from ..recording.measuring import measure
    from ..teacher_cache.directory import read_manifest

    manifest, found = read_manifest(Path(path)), measure(Path(path))
    if as_json:
        from dataclasses import asdict

        facts = {**asdict(found), "bytes_per_token": found.bytes_per_token}
        click.echo(
            json.dumps(
                {"identity": manifest.identity.as_dict(), "teacher": manifest.config["teacher"], **facts}, indent=2
            )
        )
        return
    for name, value in manifest.identity.as_dict().items():
        click.echo(f"{name:<18} {shown(value)}")
    click.echo(f"{'finished' if found.finished else 'not finished'}: {size_line(found)}")


def shown(value: Any) -> str:
    """A value of the identity; components by name and options."""
    if not isinstance(value, dict):
        return str(value)
    options = ", ".join(f"{key}: {given}" for key, given in value.items() if key != "name" and given is not None)
    return f"{value.get('name', '')} ({options})"


def size_line(found: Measure) -> str:
    """How much is there, in one line."""
    from .plan import quantity

    return (
        f"{found.records:,} of {found.expected:,} records, {found.tokens:,} tokens, {quantity(found.bytes, 'B')}, "
        f"{found.bytes_per_token:.1f} bytes a token"
    )
