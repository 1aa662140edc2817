"""``tide cache verify``."""

from __future__ import annotations

from pathlib import Path

import click

from .common import console


@click.command()
@click.argument("path", type=click.Path(), metavar="PATH")
def command(path: str) -> None:
    """Read every record of the cache at PATH and hold it against its checksum.

    \b
    Example:
      tide cache verify caches/teacher
    """
    from ..teacher_cache import TeacherCache

    cache = TeacherCache(Path(path))
    with console(error=True).status("verifying") as status:
        for done in cache.verify():
            status.update(f"verifying: {done:,} of {len(cache):,} records")
    click.echo(f"{path}: {len(cache):,} records, all whole")
