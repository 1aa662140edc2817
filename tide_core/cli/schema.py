"""``tide schema``."""

from __future__ import annotations

import json

import click

from .common import load_registry, plugin_option


@click.command()
@plugin_option
def command(plugins: tuple[str, ...]) -> None:
    """Print the JSON Schema of run files, with the options of every component that is installed here.

    \b
    Example:
      tide schema > tide.schema.json
    and as the first line of a run file:
      # yaml-language-server: $schema=./tide.schema.json
    """
    from ..json_schema import run_schema

    click.echo(json.dumps(run_schema(load_registry(plugins)), indent=2))
