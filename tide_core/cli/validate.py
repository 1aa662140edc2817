"""``tide validate``."""

from __future__ import annotations

import click

from .common import load_registry, override_option, plugin_option, print_warnings, run_file


@click.command()
@run_file
@override_option
@plugin_option
def command(file: str, overrides: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """Check a run file: its options, its components, and whether they work together. No model is loaded.

    \b
    Example:
      tide validate run.yaml --set alignment=shared_vocabulary
    """
    from ..compatibility import require_mix
    from ..config import load_run

    registry = load_registry(plugins)
    loaded = load_run(file, overrides, registry=registry)
    print_warnings(require_mix(loaded.config, registry, loaded.source))
    click.echo(f"{file}: valid")
