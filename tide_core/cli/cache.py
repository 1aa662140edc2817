"""``tide cache``: a teacher's answers on disk."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {
    "build": ("tide_core.cli.cache_build", "Let a run's teacher answer its training data, and write that down."),
    "info": ("tide_core.cli.cache_info", "Show what a cache was built from, and its size."),
    "verify": ("tide_core.cli.cache_verify", "Read every record of a cache and check it."),
}
"""Command -> (the module whose ``command`` implements it, one line of help)."""


class CacheGroup(click.Group):
    """Imports the command that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table, without importing them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands from the one-line helps."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=CacheGroup)
def command() -> None:
    """Keep a teacher's answers on disk: the teacher answers once, and any number of runs learn from it.

    \b
    Example:
      tide cache build run.yaml --draws 4 --path caches/teacher
      tide run run.yaml --set 'teacher={cache: caches/teacher}'
    """
