"""``tide matrix``: a table of runs that differ in some options."""

from __future__ import annotations

import click

from .lazy_group import LazyGroup

COMMANDS = {
    "run": ("tide_core.cli.matrix_run", "Run the cells that are not finished (what FILE alone does)."),
    "plan": ("tide_core.cli.matrix_plan", "Show the cells and what they would cost."),
    "report": ("tide_core.cli.matrix_report", "Compare what the cells found out."),
}
"""Command -> (the module whose ``command`` implements it, one line of help)."""


class MatrixGroup(LazyGroup):
    """Takes ``tide matrix FILE`` for ``tide matrix run FILE``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``run`` before what is no command and no question for help."""
        if args and args[0] not in (*self.list_commands(ctx), "--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=MatrixGroup, table=COMMANDS, subcommand_metavar="[run|plan|report] FILE")
def command() -> None:
    """Run a table of runs that differ in some options: a base run, and axes with the values that its parts take in turn.

    \b
    Example:
      tide matrix plan matrix.yaml
      tide matrix matrix.yaml
      tide matrix report matrix.yaml
    """
