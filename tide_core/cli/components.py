"""``tide components``."""

from __future__ import annotations

import json

import click

from .common import console, load_registry, plugin_option


@click.command()
@click.argument("kind", required=False)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@plugin_option
def command(kind: str | None, name: str | None, as_json: bool, plugins: tuple[str, ...]) -> None:
    """List the components of every KIND, of one KIND, or show the one called NAME with its options.

    \b
    Example:
      tide components
      tide components loss
      tide components loss reverse_calm
    """
    from .catalogue import detail_view, overview, records

    registry = load_registry(plugins)
    found = records(registry, kind, name)
    if as_json:
        click.echo(json.dumps(found, indent=2, default=str))
    elif kind and name:
        detail_view(found[0], console())
    else:
        overview(found, registry, console())
