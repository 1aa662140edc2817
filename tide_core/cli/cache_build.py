"""``tide cache build``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import load_registry, override_option, plugin_option, print_warnings, run_file, spoken

if TYPE_CHECKING:
    from ..recording.building import Built, Order
    from ..run_schema import RunConfig

DRAWS = 4
"""Noisings of each example where neither the command nor the run file says."""
NATURAL = click.IntRange(min=1)


@click.command()
@run_file
@click.option(
    "--draws", type=NATURAL, metavar="K", help="Noisings of each example.  [default: training.noise_draws, or 4]"
)
@click.option(
    "--top-k", type=NATURAL, metavar="k", help="Keep the k most likely tokens.  [default: what the losses read]"
)
@click.option("--path", type=click.Path(), metavar="DIR", help="The cache.  [default: beside the run's folder]")
@click.option("--teacher", type=NATURAL, default=1, show_default=True, metavar="N", help="Which of several teachers.")
@click.option(
    "--batch-size", type=NATURAL, metavar="N", help="Rows that the teacher reads at once.  [default: as in training]"
)
@override_option
@plugin_option
def command(
    file: str,
    draws: int | None,
    top_k: int | None,
    path: str | None,
    teacher: int,
    batch_size: int | None,
    overrides: tuple[str, ...],
    plugins: tuple[str, ...],
) -> None:
    """Let the teacher of FILE answer the run's training data, once for each of K noisings, and write that down.

    The same command goes on where it was stopped. Under torchrun each process writes its share.

    \b
    Example:
      tide cache build run.yaml --draws 4 --path caches/teacher
      torchrun --nproc-per-node 8 -m tide_core.cli.main cache build run.yaml
    """
    from ..compatibility import require_mix
    from ..config import load_run

    registry = load_registry(plugins)
    loaded = load_run(file, overrides, registry=registry)
    print_warnings(require_mix(loaded.config, registry, loaded.source))
    from ..recording.building import Order, build_cache
    from .cache_progress import Display

    order = Order(
        path=Path(path or default_path(loaded.config, teacher)),
        draws=draws or loaded.config.training.noise_draws or DRAWS,
        teacher=teacher - 1,
        top_k=top_k,
        batch_size=batch_size,
        run_file=file,
    )
    first = os.environ.get("RANK", "0") == "0"
    with loaded.located(), spoken(), Display(enabled=first) as display:
        built = build_cache(loaded.config, registry, order, report=display.report, progress=display.prepare)
    if first:
        for line in summary(built, order):
            click.echo(line)


def default_path(config: RunConfig, teacher: int) -> str:
    """Return where the cache goes when the user does not say: beside the run's folder."""
    return f"{config.output}-cache" + (f"-{teacher}" if config.teachers else "")


def summary(built: Built, order: Order) -> list[str]:
    """The sentences that follow a build."""
    from .cache_info import size_line

    return [
        f"cache: {built.path}, {size_line(built.measure)}",
        f"the teacher answered {built.rows:,} rows in {built.forwards:,} forwards, {built.seconds:.1f} s (this process); a run "
        f"of E epochs that runs the teacher itself needs E / {order.draws} times as many as the whole cache",
        f"learn from it with  teacher: {{cache: {built.path}}}",
    ]
