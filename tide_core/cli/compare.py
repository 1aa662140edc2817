"""``tide compare``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .common import console, load_registry, plugin_option, spoken

if TYPE_CHECKING:
    from tide_specs import Architecture

    from ..comparison.lines import Comparison
    from ..comparison.sampling import Request
    from ..registry import Registry

NATURAL = click.IntRange(min=1)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="[NAME=]RUN...")
@click.option("--baseline", metavar="NAME", help="The run that others are compared with; default: the first one.")
@click.option(
    "--steps", metavar="K,K,...", help="Let students and teachers write in so many steps of the sampler, e.g. 1,2,4,8."
)
@click.option(
    "--judge",
    metavar="MODEL|YAML",
    help="With --steps: the model that judges what they write; none of them, nor what they were made of.",
)
@click.option(
    "--sampler",
    metavar="YAML",
    help="With --steps: options of the sampler 'block'; default: the ancestral one, {commit: first_hitting, temperature: 1}.",
)
@click.option(
    "--prompts", type=NATURAL, default=64, show_default=True, help="With --steps: held-out texts to begin with."
)
@click.option("--new-tokens", type=NATURAL, default=64, show_default=True, help="With --steps: tokens of a sample.")
@click.option("-b", "--batch-size", type=NATURAL, default=8, show_default=True, help="With --steps: samples at a time.")
@click.option("--html", metavar="FILE.html", help="Write a page; it needs no network.")
@click.option("--markdown", metavar="FILE.md", help="Write the tables as Markdown.")
@click.option("--csv", "csv_file", metavar="FILE.csv", help="Write one row for each quantity of each run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@plugin_option
def command(
    runs: tuple[str, ...],
    baseline: str | None,
    html: str | None,
    markdown: str | None,
    csv_file: str | None,
    as_json: bool,
    plugins: tuple[str, ...],
    **asked: Any,
) -> None:
    """Compare ways to distil: what was learned, what it took, and what is held equal between the runs.

    RUN is the folder of a finished run or recipe, a checkpoint, or a run file whose output is finished. Differences are from
    the baseline, on the same held-out documents.

    \b
    Example:
      tide compare runs/cross_entropy runs/tide_cross
      tide compare plain=runs/a tide=runs/b sdtt=runs/c --baseline plain --html comparison.html
      tide compare runs/tide runs/sdtt --steps 1,2,4,8 --judge ./judge --markdown comparison.md
    """
    from ..comparison.report import build_comparison, ordered
    from ..comparison.runs import find_runs

    _require_writable({"--html": html, "--markdown": markdown, "--csv": csv_file})
    _require_sense(**asked)
    registry = load_registry(plugins)
    found = ordered(find_runs(runs, registry), baseline)
    request = _request(registry, **asked)
    sampled = None
    if request is not None:
        from ..comparison.documents import require_same_documents
        from ..comparison.sampling import sample

        require_same_documents(found)
        with spoken(), console(error=True).status("loading") as status:
            sampled = sample(found, request, registry, announce=status.update)
    comparison = build_comparison(found, sampled)
    _write(comparison, html, markdown, csv_file)
    if as_json:
        click.echo(json.dumps(comparison.record(), indent=2, ensure_ascii=False))
    else:
        _print(comparison)


def _require_writable(files: Mapping[str, str | None]) -> None:
    from ..html_pages import require_writable

    for option, path in files.items():
        if path is not None:
            require_writable(
                option, path, f"comparison.{ {'--html': 'html', '--markdown': 'md', '--csv': 'csv'}[option] }"
            )


def _require_sense(steps: str | None, judge: str | None, sampler: str | None, **_: Any) -> None:
    """Refuse options that cannot be followed, before anything is read."""
    if steps is not None and judge is None:
        raise click.UsageError("--steps needs a model that judges what is written: add --judge MODEL")
    for option, given in (("--judge", judge), ("--sampler", sampler)):
        if given is not None and steps is None:
            raise click.UsageError(
                f"{option} speaks of samples: say in how many steps to write them, e.g. --steps 1,2,4,8"
            )


def _request(
    registry: Registry,
    steps: str | None,
    judge: str | None,
    sampler: str | None,
    prompts: int,
    new_tokens: int,
    batch_size: int,
) -> Request | None:
    if steps is None or judge is None:
        return None
    from ..comparison.sampling import ANCESTRAL, Request

    return Request(
        steps=_steps(steps),
        judge=_judge(judge, registry),
        sampler=ANCESTRAL if sampler is None else _sampler(sampler, registry),
        limit=prompts,
        new_tokens=new_tokens,
        batch_size=batch_size,
    )


def _steps(text: str) -> list[int]:
    try:
        found = sorted({int(one) for one in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1:
        raise click.UsageError(f"--steps {text}: write whole numbers from 1 up, e.g. --steps 1,2,4,8")
    return found


def _judge(source: str, registry: Registry) -> Architecture:
    from tide_specs import TideError

    from ..alignment_report.sides import architecture_mapping
    from ..inspection import model_architecture

    try:
        if source.lstrip().startswith("{"):
            found: Architecture = registry.build("architecture", architecture_mapping(source))
        else:
            found = model_architecture(source, registry)
    except TideError as error:
        error.args = (f"--judge {source}: {error}",)
        raise
    return found


def _sampler(text: str, registry: Registry) -> dict[str, Any]:
    import yaml

    from tide_specs import ConfigError, TideError

    from ..comparison.sampling import ANCESTRAL
    from ..yaml_source import parse_value

    try:
        value = parse_value(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--sampler {text}: is not valid YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(value, dict) or value.get("name", ANCESTRAL["name"]) != ANCESTRAL["name"]:
        raise ConfigError(f"--sampler {text}: write options of the sampler 'block', e.g. '{{score: confidence}}'")
    if "steps_per_block" in value or "tokens_per_step" in value:
        raise ConfigError(f"--sampler {text}: the number of steps is said by --steps")
    options = {**value, "name": ANCESTRAL["name"]}
    try:
        registry.build("sampler", {**options, "steps_per_block": 1})
    except TideError as error:
        error.args = (f"--sampler {text}: {error}",)
        raise
    return options


def _write(comparison: Comparison, html: str | None, markdown: str | None, csv_file: str | None) -> None:
    from ..comparison.page import page
    from ..comparison.tables import as_csv, as_markdown
    from ..html_pages import write_page

    made: Sequence[tuple[str, str | None, Callable[[Comparison], str]]] = (
        ("--html", html, page),
        ("--markdown", markdown, as_markdown),
        ("--csv", csv_file, as_csv),
    )
    for option, path, make in made:
        if path is not None:
            write_page(option, path, make(comparison))
            click.echo(f"written: {path}", err=True)


def _print(comparison: Comparison) -> None:
    from ..comparison.tables import LEGEND, UNEQUAL, as_table

    output = console()
    output.print(as_table(comparison))
    click.echo()
    click.echo(LEGEND.format(comparison.baseline))
    click.echo()
    for one in comparison.equal:
        click.echo(f"equal {one.what}: {one.text}")
    click.echo(UNEQUAL)
    for note in comparison.notes:
        click.echo(f"note: {note}")
