"""``tide plugin new``, ``check`` and ``list``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .common import console, load_registry, plugin_option


@click.group()
def command() -> None:
    """Write, check and list plugins.

    \b
    Example:
      tide plugin new tide-plugin-sharp --kinds loss,schedule
      tide plugin check my_loss.py
      tide plugin list
    """


@command.command()
@click.argument("name")
@click.option("--kinds", default="", metavar="KIND,...", help="Components to start with; default: one of each kind.")
@click.option("--directory", type=click.Path(), help="Where to write it; default: ./NAME.")
def new(name: str, kinds: str, directory: str | None) -> int:
    """Write a plugin project called NAME.

    It holds working components, their tests and a README.

    \b
    Example:
      tide plugin new tide-plugin-sharp --kinds loss,schedule
      pip install -e ./tide-plugin-sharp && pytest ./tide-plugin-sharp
    """
    from ..plugin_template import PARTS, check_kinds, names_of, write_project

    names = names_of(name)
    wanted = check_kinds([kind.strip() for kind in kinds.split(",") if kind.strip()]) or tuple(PARTS)
    target = Path(directory or name)
    written = write_project(target, names, wanted)
    click.echo(f"wrote {len(written)} files to {target}: {', '.join(wanted)}")
    click.echo(f"next:\n  pip install -e '{target}[test]'\n  pytest {target}\n  tide plugin check {name}")
    return 0


@command.command()
@click.argument("target", required=False, metavar="[NAME|FILE.py]")
@click.option(
    "--with",
    "given",
    multiple=True,
    metavar="YAML",
    help="Options of a component that cannot be built without, e.g. '{name: my_data, path: x.jsonl}'. Repeatable.",
)
@click.option("--verbose", is_flag=True, help="List every check, those that passed or do not apply too.")
def check(target: str | None, given: tuple[str, ...], verbose: bool) -> int:
    """Check a plugin's components, without pytest.

    Each is held against the contract of its kind; the exit code is 1 when one fails.

    TARGET is the name of an installed plugin, or a Python file. Without it every plugin that is not bundled is checked.

    \b
    Example:
      tide plugin check my_loss.py
      tide plugin check tide-plugin-sharp --verbose
    """
    from ..yaml_options import read_options
    from .plugin_report import report

    is_file = target is not None and target.endswith(".py")
    registry = load_registry([target] if target and is_file else [])
    return report(registry, target, read_options(given), verbose=verbose, is_file=is_file, console=console())


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@plugin_option
def list_(as_json: bool, plugins: tuple[str, ...]) -> int:
    """List plugins, and why any was skipped.

    \b
    Example:
      tide plugin list
    """
    from .plugin_report import listing, records

    registry = load_registry(plugins)
    if as_json:
        click.echo(json.dumps(records(registry), indent=2))
    else:
        listing(registry, console())
    return 0
