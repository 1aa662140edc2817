"""``tide run``."""

from __future__ import annotations

import os

import click

from .common import INTERRUPTED, load_registry, override_option, plugin_option, print_warnings, run_file, spoken


@click.command()
@run_file
@override_option
@plugin_option
@click.option(
    "--resume/--no-resume", default=True, help="Go on from the run's newest checkpoint if it has one (default), or not."
)
@click.option("--allow-changes", is_flag=True, help="Resume although the run file has changed since the checkpoint.")
def command(file: str, overrides: tuple[str, ...], plugins: tuple[str, ...], resume: bool, allow_changes: bool) -> int:
    """Train the student as FILE says. A run that was interrupted goes on where it stopped.

    \b
    Example:
      tide run run.yaml --set training.steps=50 --set output=runs/short
      tide run run.yaml --plugin ./my_loss.py
    """
    from ..compatibility import require_mix
    from ..config import load_run

    registry = load_registry(plugins)
    loaded = load_run(file, overrides, registry=registry)
    print_warnings(require_mix(loaded.config, registry, loaded.source))
    from ..run import run

    with loaded.located(), spoken():
        outcome = run(loaded.config, registry, resume=resume, allow_changes=allow_changes, source=loaded.source)
    main_process = os.environ.get("RANK", "0") == "0"
    if outcome.status == "interrupted":
        if main_process:
            click.echo(f"interrupted after step {outcome.step}; the same command goes on from there", err=True)
        return INTERRUPTED
    if main_process:
        click.echo(f"run folder: {outcome.directory}")
        if outcome.student is not None:
            click.echo(f"student: {outcome.student}")
    return 0
