"""``tide align report``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .common import console, load_registry, plugin_option

if TYPE_CHECKING:
    from tide_specs import Alignment

    from ..alignment_report.sides import Side
    from ..alignment_report.texts import Texts
    from ..config import LoadedRun
    from ..registry import Registry

MEGABYTE = 1_000_000
ALIGNMENT = "byte_chunks"
"""What is reported where neither a run nor --alignment says otherwise; takes any two tokenizers."""


@click.group()
def command() -> None:
    """Report how well two tokenizers align.

    \b
    Example:
      tide align report --student package:qwen --teacher-tokenizer package:deepseek
      tide align report run.yaml --html alignment.html
    """


@command.command()
@click.argument("run", required=False, metavar="[RUN.yaml]")
@click.option("--student", metavar="TOKENIZER", help="The student's tokenizer; default: that of the run.")
@click.option("--teacher-tokenizer", "teacher", metavar="TOKENIZER", help="The teacher's; default: that of the run.")
@click.option(
    "--text",
    "texts",
    multiple=True,
    metavar="[DOMAIN=]FILE",
    help="A text to compare on. Repeatable; default: the run's dataset, or else the built-in sample.",
)
@click.option("--sample", is_flag=True, help="Compare on the built-in sample, although a run has a dataset.")
@click.option(
    "--split", type=click.Choice(["train", "evaluation"]), default="train", show_default=True, help="Of the dataset."
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=4 * MEGABYTE,
    show_default=True,
    help="Read this much of each domain, or of the dataset.",
)
@click.option("--alignment", metavar="NAME|YAML", help=f"Default: that of the run, or {ALIGNMENT}.")
@click.option(
    "--masking",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="The probability p of the masking ratio r(p).",
)
@click.option("--html", metavar="FILE.html", help="Write a page that shows both tokenizations; it needs no network.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with a tokenizer.")
@plugin_option
def report(
    run: str | None,
    student: str | None,
    teacher: str | None,
    texts: tuple[str, ...],
    sample: bool,
    split: str,
    max_bytes: int,
    alignment: str | None,
    masking: float,
    html: str | None,
    as_json: bool,
    trust_remote_code: bool,
    plugins: tuple[str, ...],
) -> None:
    """Encode a text with both tokenizers and report where they agree, per kind of text and in total.

    TOKENIZER is a directory, a .gguf file, a hub name, package:NAME, a run folder, or an architecture with its options
    as YAML. No weights are loaded.

    \b
    Example:
      tide align report --student package:qwen --teacher-tokenizer package:deepseek
      tide align report --student ./qwen --teacher-tokenizer ./bert --text prose=novel.txt --text code=main.py
      tide align report run.yaml --html alignment.html
      tide align report run.yaml --teacher-tokenizer package:tekken --sample --json
    """
    _require_sense(run, student, teacher, texts, sample, html)
    registry = load_registry(plugins)
    loaded = _loaded(run, registry)
    from ..alignment_report.page import page
    from ..alignment_report.report import report as compare
    from ..html_pages import write_page

    with console(error=True).status("reading") as status:
        chosen = _alignment(loaded, alignment, registry)
        sides = _sides(loaded, student, teacher, registry, trust_remote_code)
        found = _texts(loaded, texts, sample, split, max_bytes)
        status.update("aligning")
        result = compare(*sides, chosen, found, masking=masking)
    if html:
        write_page("--html", html, page(result))
        click.echo(f"page: {html}", err=True)
    if as_json:
        click.echo(json.dumps(result.data, indent=2, ensure_ascii=False))
    else:
        show(result.data)


def _require_sense(
    run: str | None, student: str | None, teacher: str | None, texts: Sequence[str], sample: bool, html: str | None
) -> None:
    """Refuse options that cannot be followed, before anything is read."""
    if run is None and (student is None or teacher is None):
        missing = "--student" if student is None else "--teacher-tokenizer"
        raise click.UsageError(f"{missing} is missing: name both tokenizers, or a run file that has both models")
    if sample and texts:
        raise click.UsageError("--sample and --text are two texts: give one of them")
    if html is not None:
        from ..html_pages import require_writable

        require_writable("--html", html, "alignment.html")


def _loaded(run: str | None, registry: Registry) -> LoadedRun | None:
    if run is None:
        return None
    from ..config import load_run

    return load_run(run, registry=registry)


def _alignment(loaded: LoadedRun | None, given: str | None, registry: Registry) -> Alignment:
    if given is not None:
        from ..yaml_source import parse_value

        return registry.build("alignment", parse_value(given))
    return registry.build("alignment", ALIGNMENT) if loaded is None else loaded.config.alignment


def _sides(
    loaded: LoadedRun | None, student: str | None, teacher: str | None, registry: Registry, trust_remote_code: bool
) -> tuple[Side, Side]:
    from tide_specs import ConfigError

    from ..alignment_report.sides import named_side, side_of

    trusted = trust_remote_code or (loaded is not None and loaded.config.trust_remote_code)
    if loaded is None or student is not None:
        ours = named_side(str(student), "--student", "student", registry, trust_remote_code=trusted)
    else:
        with loaded.located():
            ours = side_of(loaded.config.student, "student", registry, trust_remote_code=trusted)
    if loaded is None or teacher is not None:
        return ours, named_side(str(teacher), "--teacher-tokenizer", "teacher", registry, trust_remote_code=trusted)
    if loaded.config.teacher is None:
        raise ConfigError(f"{loaded.source.file}: the run has no teacher; name its tokenizer with --teacher-tokenizer")
    with loaded.located():
        return ours, side_of(loaded.config.teacher, "teacher", registry, trust_remote_code=trusted)


def _texts(loaded: LoadedRun | None, given: Sequence[str], sample: bool, split: Any, limit: int) -> Texts:
    from ..alignment_report.texts import from_dataset, from_files
    from ..alignment_report.texts import sample as built_in

    if given:
        return from_files(given, limit)
    if sample or loaded is None:
        return built_in()
    with loaded.located():
        return from_dataset(loaded.config.data, split, limit)


def show(data: Mapping[str, Any]) -> None:
    """Print what was compared, and every figure as one table."""
    from rich.table import Table
    from rich.text import Text

    from ..alignment_report.page import facts
    from ..alignment_report.wording import columns, lines

    output = console()
    for term, value in facts(data):
        output.print(Text.assemble((f"{term}: ", "bold"), value))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("", style="cyan")
    for name in columns(data):
        table.add_column(Text(name), justify="right")
    for line in lines(data):
        table.add_row(Text(line.group, "bold"), Text(line.label), *map(Text, line.cells))
    output.print(table)
