"""``tide align report``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .common import console, device_option, load_registry, plugin_option

if TYPE_CHECKING:
    from rich.status import Status

    from ..alignment_report.pairs import Request
    from ..alignment_report.report import Report
    from ..alignment_report.tables import Tables
    from ..alignment_report.teachers import Answered, Teacher
    from ..alignment_report.texts import Texts
    from ..config import LoadedRun
    from ..registry import Registry

MEGABYTE = 1_000_000
TEXT = 4 * MEGABYTE
TEXT_READ = MEGABYTE // 10
"""Bytes of a domain where a teacher reads it: a forward pass costs more than an alignment."""


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
@click.option("--teacher-tokenizer", metavar="TOKENIZER", help="The teacher's; default: that of the run.")
@click.option(
    "--teacher",
    metavar="MODEL",
    help="Load this teacher and let it read the text once: adds what its distributions lose between the two vocabularies.",
)
@click.option("--with-teacher", is_flag=True, help="Do so with the run's own teacher.")
@click.option(
    "--teacher-number",
    type=click.IntRange(min=1),
    metavar="N",
    help="Which teacher of a run with several; the first is 1.",
)
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
    help=f"Read this much of each domain, or of the dataset; default: {TEXT:,}, or {TEXT_READ:,} where a teacher reads it.",
)
@click.option("--alignment", metavar="NAME|YAML", help="Default: that of the run, or byte_chunks.")
@click.option(
    "--masking",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="The probability p of the masking ratio r(p); also the share of chunks that are hidden from a teacher that denoises.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of which chunks are hidden.")
@device_option
@click.option("--html", metavar="FILE.html", help="Write a page that shows both tokenizations; it needs no network.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with a tokenizer.")
@plugin_option
def report(
    run: str | None,
    texts: tuple[str, ...],
    sample: bool,
    split: str,
    max_bytes: int | None,
    masking: float,
    seed: int,
    device: str,
    html: str | None,
    as_json: bool,
    plugins: tuple[str, ...],
    **named: Any,
) -> None:
    """Encode a text with both tokenizers and report where they agree, per kind of text and in total.

    TOKENIZER is a directory, a .gguf file, a hub name, package:NAME, a run folder, or an architecture with its options
    as YAML. MODEL is a checkpoint, a run folder, or such an architecture. No weights are loaded but those of a teacher that
    is to read the text.

    \b
    Example:
      tide align report --student package:qwen --teacher-tokenizer package:deepseek
      tide align report --student ./qwen --teacher-tokenizer ./bert --text prose=novel.txt --text code=main.py
      tide align report run.yaml --html alignment.html
      tide align report run.yaml --teacher-tokenizer package:tekken --sample --json
      tide align report run.yaml --with-teacher --teacher-number 2
      tide align report --student package:qwen --teacher '{name: huggingface, model: package:smollm2, form: autoregressive}'
    """
    _require_sense(run, texts, sample, html, **named)
    registry = load_registry(plugins)
    loaded = _loaded(run, registry)
    from ..alignment_report.page import page
    from ..alignment_report.pairs import Request
    from ..html_pages import write_page

    request = Request(loaded=loaded, **named)
    with console(error=True).status("reading") as status:
        teacher = request.reader(registry, device=device, masking=masking, seed=seed)
        limit = max_bytes or (TEXT if teacher is None else TEXT_READ)
        found = _texts(loaded, texts, sample, split, limit)
        result = _compared(request, teacher, found, masking, registry, status)
    if html:
        write_page("--html", html, page(result))
        click.echo(f"page: {html}", err=True)
    if as_json:
        click.echo(json.dumps(result.data, indent=2, ensure_ascii=False))
    else:
        show(result.data)


def _require_sense(
    run: str | None,
    texts: Sequence[str],
    sample: bool,
    html: str | None,
    *,
    student: str | None,
    teacher_tokenizer: str | None,
    teacher: str | None,
    with_teacher: bool,
    teacher_number: int | None,
    **_: Any,
) -> None:
    """Refuse options that cannot be followed, before anything is read."""
    if run is None and (student is None or (teacher_tokenizer is None and teacher is None)):
        missing = "--student" if student is None else "--teacher-tokenizer (or --teacher)"
        raise click.UsageError(f"{missing} is missing: name both tokenizers, or a run file that has both models")
    if run is None and (with_teacher or teacher_number is not None):
        option = "--with-teacher" if with_teacher else "--teacher-number"
        raise click.UsageError(
            f"{option} speaks of a run's teacher: give a run file, or name a model with --teacher MODEL"
        )
    given = {"--teacher": teacher is not None, "--with-teacher": with_teacher}
    reading = [name for name, there in given.items() if there]
    if len(reading) == 2:
        raise click.UsageError("--teacher and --with-teacher are two teachers: give one of them")
    if reading and teacher_tokenizer is not None:
        raise click.UsageError(f"{reading[0]} reads with its own tokenizer: leave --teacher-tokenizer out")
    if sample and texts:
        raise click.UsageError("--sample and --text are two texts: give one of them")
    if html is not None:
        from ..html_pages import require_writable

        require_writable("--html", html, "alignment.html")


def _compared(
    request: Request, teacher: Teacher | None, texts: Texts, masking: float, registry: Registry, status: Status
) -> Report:
    """Align, let the teacher read where there is one, and count; ``status`` says how far it is."""
    from ..alignment_report.report import report as compare

    alignment, sides = request.chosen_alignment(registry), request.sides(registry)
    status.update("aligning")

    def asked(tables: Tables) -> Answered:
        assert teacher is not None
        from ..alignment_report.teachers import answer

        status.update("loading the teacher")
        return answer(teacher, sides, alignment, texts, tables, registry, progress)

    def progress(done: int, total: int) -> None:
        status.update(f"the teacher reads: {done:,} of {total:,} chunks")

    with request.located():
        return compare(*sides, alignment, texts, masking=masking, asked=None if teacher is None else asked)


def _loaded(run: str | None, registry: Registry) -> LoadedRun | None:
    if run is None:
        return None
    from ..config import load_run

    return load_run(run, registry=registry)


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
