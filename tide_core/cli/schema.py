"""``tide schema``."""

from __future__ import annotations

import json

import click

from .common import load_registry, plugin_option


@click.command()
@click.argument("what", type=click.Choice(["run", "matrix"]), default="run")
@plugin_option
def command(what: str, plugins: tuple[str, ...]) -> None:
    """Print the JSON Schema of run files, or of matrix files, with the options of every component installed here.

    \b
    Example:
      tide schema > tide.schema.json
      tide schema matrix > matrix.schema.json
    and as the first line of a run file:
      # yaml-language-server: $schema=./tide.schema.json
    """
    from ..json_schema import run_schema
    from ..matrix.json_schema import matrix_schema

    schema = matrix_schema if what == "matrix" else run_schema
    click.echo(json.dumps(schema(load_registry(plugins)), indent=2))
