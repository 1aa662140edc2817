"""``tide cache``: a teacher's answers on disk."""

from __future__ import annotations

import click

from .lazy_group import LazyGroup

COMMANDS = {
    "build": ("tide_core.cli.cache_build", "Let a run's teacher answer its training data, and write that down."),
    "info": ("tide_core.cli.cache_info", "Show what a cache was built from, and its size."),
    "verify": ("tide_core.cli.cache_verify", "Read every record of a cache and check it."),
}
"""Command -> (the module whose ``command`` implements it, one line of help)."""


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Keep a teacher's answers on disk: the teacher answers once, and any number of runs learn from it.

    \b
    Example:
      tide cache build run.yaml --draws 4 --path caches/teacher
      tide run run.yaml --set 'teacher={cache: caches/teacher}'
    """
