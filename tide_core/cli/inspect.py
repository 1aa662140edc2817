"""``tide inspect``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from .common import console, load_registry, plugin_option

BYTES = frozenset({"bytes"})
COUNTS = frozenset({"parameters", "active_parameters"})


@click.command()
@click.argument("checkpoint", metavar="PATH")
@click.option(
    "--architecture",
    metavar="NAME|YAML",
    help="What would load PATH, with options; default: what its run says, or else what knows it.",
)
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with the model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@plugin_option
def command(
    checkpoint: str, architecture: str | None, trust_remote_code: bool, as_json: bool, plugins: tuple[str, ...]
) -> None:
    """Say what a checkpoint is: family, form, mask token, tokenizer, size, memory, and what it can be used as.

    PATH is a model directory, a run folder, a checkpoint, a .gguf file, a hub name whose copy is on this disk, or
    package:NAME. No weights are loaded.

    \b
    Example:
      tide inspect runs/demo
      tide inspect package:smollm2 --json
      tide inspect ./llama --architecture '{name: huggingface, form: autoregressive}'
    """
    from ..assembly import describer
    from ..blame import blame
    from ..inspection import inspect_model, model_architecture

    registry = load_registry(plugins)
    found = model_architecture(checkpoint, registry, architecture)
    with console(error=True).status("reading"), blame(found, "while it was inspected", describer(registry)):
        groups = inspect_model(found, trust_remote_code=trust_remote_code)
    if as_json:
        click.echo(json.dumps(groups, indent=2, ensure_ascii=False))
    else:
        show(checkpoint, groups)


def show(title: str, groups: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the groups as one table."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, title=Text(title, "bold"), title_justify="left")
    for style in ("bold", "cyan", ""):
        table.add_column(style=style, overflow="fold")
    for heading, group in groups.items():
        for number, (name, value) in enumerate(group.items()):
            label = "" if number else heading
            table.add_row(Text(label), Text(name.replace("_", " ")), Text(_said(heading, name, value)))
    console().print(table)


def _said(heading: str, name: str, value: Any) -> str:
    """A value in words."""
    from .plan import quantity

    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and (heading == "memory" or name in BYTES):
        return quantity(value, "B")
    if isinstance(value, int) and name in COUNTS:
        return f"{quantity(value)} ({value:,})"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {quantity(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
