"""``tide evaluate``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .common import console, load_registry, override_option, plugin_option, print_warnings, spoken

if TYPE_CHECKING:
    from tide_specs import Evaluation

    from ..config import LoadedRun
    from ..registry import Registry
    from ..saved_students import SavedStudent


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option(
    "--run",
    "file",
    type=click.Path(),
    metavar="RUN.yaml",
    help="Take data, evaluators and teacher from this run file; default: from the run that made CHECKPOINT.",
)
@click.option(
    "--architecture",
    metavar="NAME|YAML",
    help="What loads CHECKPOINT, with options; default: what its run says, or else what knows it.",
)
@click.option(
    "--retention",
    is_flag=True,
    help="Evaluate the teacher as well, measure what both cost, and say how much of its scores the student keeps.",
)
@click.option(
    "--new-tokens",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="With --retention: tokens of the text whose memory and time are measured.",
)
@click.option(
    "--repetitions", type=click.IntRange(min=1), default=3, show_default=True, help="With --retention: timed runs."
)
@override_option
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with tables and the numbers of each example.")
def command(
    checkpoint: str,
    file: str | None,
    architecture: str | None,
    retention: bool,
    new_tokens: int,
    repetitions: int,
    overrides: tuple[str, ...],
    plugins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Evaluate a student on a run's held-out data. CHECKPOINT is a run folder, a checkpoint, or a student's directory.

    The teacher is loaded when an evaluator looks at it.

    \b
    Example:
      tide evaluate runs/demo --run run.yaml
      tide evaluate runs/demo --set 'evaluation=[{name: bits_per_byte, forwards: 32}]' --json
      tide evaluate runs/demo --retention --new-tokens 128
    """
    from ..compatibility import require_mix
    from ..saved_students import find_student, student_architecture

    registry = load_registry(plugins)
    student = find_student(checkpoint)
    loaded = _run(student, file, overrides, registry)
    model = student_architecture(student, registry, architecture)
    config = loaded.config.model_copy(update={"student": model})
    _require_evaluators(loaded)
    if retention:
        _require_teacher(loaded)
    print_warnings(require_mix(config, registry, loaded.source))
    from ..checkpoint_evaluation import evaluate_student
    from .retention import retentions

    with loaded.located(), spoken(), console(error=True).status("loading") as status:
        evaluations = evaluate_student(config, registry, announce=status.update)
        kept = (
            retentions(config, registry, plugins, evaluations, new_tokens, repetitions, announce=status.update)
            if retention
            else []
        )
    if as_json:
        whole = {name: _record(found) for name, found in evaluations.items()}
        click.echo(
            json.dumps({**whole, **({"retention": [item.record() for item in kept]} if retention else {})}, indent=2)
        )
    else:
        _print(str(student.path), evaluations)
        for item in kept:
            item.print(console())


def _run(student: SavedStudent, file: str | None, overrides: Sequence[str], registry: Registry) -> LoadedRun:
    """Load the run file, or what is recorded of the student's run."""
    from tide_specs import ConfigError

    from ..config import load_record, load_run

    if file is not None:
        return load_run(file, overrides, registry=registry)
    if student.run is None:
        raise ConfigError(f"{student.path}: no run is recorded beside it; name a run file with --run RUN.yaml")
    return load_record(student.run, f"the run that made {student.path}", overrides, registry=registry)


def _require_evaluators(loaded: LoadedRun) -> None:
    from tide_specs import ConfigError

    if not loaded.config.evaluation:
        raise ConfigError(
            f"{loaded.source.file}: evaluation: the run names no evaluator; add one, or  --set evaluation=[bits_per_byte]"
        )


def _require_teacher(loaded: LoadedRun) -> None:
    from tide_specs import ConfigError

    if not loaded.config.lessons():
        raise ConfigError(
            f"{loaded.source.file}: --retention: the run has no teacher; add one, or name a run file with --run"
        )


def _print(title: str, evaluations: Mapping[str, Evaluation]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", title=Text(title), title_justify="left")
    for column in ("evaluator", "metric", "value", "95 % interval"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for evaluator, found in evaluations.items():
        for metric, estimate in found.metrics.items():
            known = estimate.low is not None and estimate.high is not None
            interval = f"{estimate.low:.4f} to {estimate.high:.4f}" if known else ""
            table.add_row(Text(evaluator), Text(metric), f"{estimate.value:.4f}", interval)
    console().print(table)


def _record(evaluation: Evaluation) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(evaluation)
