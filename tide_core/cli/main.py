"""The command ``tide``: a table of commands, and what becomes of their errors."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from .common import INTERRUPTED
from .lazy_group import LazyGroup

COMMANDS = {
    "run": ("tide_core.cli.run", "Train as a run file says, or resume."),
    "validate": ("tide_core.cli.validate", "Check a run file without loading a model."),
    "plan": ("tide_core.cli.plan", "Show what a run would cost: parameters, memory, FLOPs."),
    "components": ("tide_core.cli.components", "List components, or show one with its options."),
    "inspect": ("tide_core.cli.inspect", "Say what a checkpoint is, without loading it."),
    "convert": ("tide_core.cli.convert", "Make a diffusion student out of a pretrained model."),
    "schema": ("tide_core.cli.schema", "Print the JSON Schema of run files, for editors."),
    "plugin": ("tide_core.cli.plugin", "Write, check and list plugins."),
    "cache": ("tide_core.cli.cache", "Keep a teacher's answers on disk for many runs."),
    "align": ("tide_core.cli.align", "Report how well two tokenizers align."),
    "generate": ("tide_core.cli.generate", "Let a trained student write text."),
    "bench": ("tide_core.cli.bench", "Measure what generation costs, models side by side."),
    "evaluate": ("tide_core.cli.evaluate", "Evaluate a trained student."),
    "matrix": ("tide_core.cli.matrix", "Run a table of runs that differ in some options."),
    "compare": ("tide_core.cli.compare", "Compare the results of runs."),
}
"""Command -> (the module whose ``command`` implements it, one line of help). Modules are imported when used only."""


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from .. import __version__

        click.echo(f"tide {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def cli() -> None:
    """TIDE distils diffusion language models across architectures, attention patterns and tokenizers.

    A run is a YAML file that names components; plugins contribute them.

    \b
    Example:
      tide validate examples/demo.yaml
      tide run examples/demo.yaml --set training.steps=50
    """


def call(arguments: Sequence[str] | None = None) -> int:
    """Run ``tide`` with these arguments and return its exit code: 0, 2 for an error of the user's, 130 for Ctrl-C."""
    try:
        result: Any = cli.main(
            args=None if arguments is None else list(arguments), prog_name="tide", standalone_mode=False
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _close_stdout()
        return 1
    except Exception as error:
        if not _is_tide_error(error):
            raise
        click.echo(str(error), err=True)
        return 2


def _is_tide_error(error: Exception) -> bool:
    # Looked up, not imported: an error of this class can exist only if the module has been imported.
    errors = sys.modules.get("tide_specs.errors")
    return errors is not None and isinstance(error, errors.TideError)


def _close_stdout() -> None:
    """Whoever read the output has gone; keep the interpreter from complaining when it flushes."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Entry point of the ``tide`` script."""
    sys.exit(call())


if __name__ == "__main__":
    main()
