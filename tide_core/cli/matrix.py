"""``tide matrix``: a table of runs that differ in some options."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import click

COMMANDS = {
    "run": ("tide_core.cli.matrix_run", "Run the cells that are not finished (what FILE alone does)."),
    "plan": ("tide_core.cli.matrix_plan", "Show the cells and what they would cost."),
    "report": ("tide_core.cli.matrix_report", "Compare what the cells found out."),
}
"""Command -> (the module whose ``command`` implements it, one line of help)."""


class MatrixGroup(click.Group):
    """Takes ``tide matrix FILE`` for ``tide matrix run FILE``; imports the command that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table, without importing them."""
        return [name for name, (module, _) in COMMANDS.items() if find_spec(module) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``run`` before what is no command and no question for help."""
        if args and args[0] not in (*self.list_commands(ctx), "--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands from the one-line helps."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=MatrixGroup, subcommand_metavar="[run|plan|report] FILE")
def command() -> None:
    """Run a table of runs that differ in some options: a base run, and axes with the values that its parts take in turn.

    \b
    Example:
      tide matrix plan matrix.yaml
      tide matrix matrix.yaml
      tide matrix report matrix.yaml
    """
