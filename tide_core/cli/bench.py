"""``tide bench``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import console, device_option, load_registry, plugin_option, sampler_options, spoken

if TYPE_CHECKING:
    from tide_specs import Architecture, Sampler

    from ..bench.protocol import Contender, Job, Model, Protocol, Row
    from ..bench.tracking import Tracked
    from ..registry import Registry

NATURAL = click.IntRange(min=1)
CACHES = {"both": (True, False), "on": (True,), "off": (False,)}
BESIDE = "beside"
"""Stands for ``--mlflow`` without a URI."""


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT...")
@click.option(
    "--baseline", metavar="CHECKPOINT", help="The model that others are compared with; default: the first one."
)
@click.option(
    "-b",
    "--batch-size",
    "batch_sizes",
    multiple=True,
    type=NATURAL,
    default=(1, 8),
    show_default="1 and 8",
    help="Rows written together. Repeatable.",
)
@click.option(
    "-n",
    "--new-tokens",
    multiple=True,
    type=NATURAL,
    default=(128, 256, 512),
    show_default="128, 256 and 512",
    help="Tokens written in each row. Repeatable.",
)
@click.option(
    "--cache",
    type=click.Choice(list(CACHES)),
    default="both",
    show_default=True,
    help="Measure with the key/value cache, without it, or both. A model that caches nothing is measured without.",
)
@click.option("--warmups", type=NATURAL, default=1, show_default=True, help="Runs before the timed ones; one counts.")
@click.option("--repetitions", type=NATURAL, default=5, show_default=True, help="Timed runs.")
@click.option(
    "-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="Repeatable; default: eight that come along."
)
@click.option("--chat", is_flag=True, help="Prompts are what a user says in a chat.")
@click.option("--sampler", metavar="NAME", help="What diffusion models write with; default: block.")
@click.option(
    "--set",
    "options",
    multiple=True,
    metavar="OPTION=VALUE",
    help="An option of the samplers that have it, e.g. tokens_per_step=4.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--architecture",
    "architectures",
    multiple=True,
    metavar="[CHECKPOINT=]NAME|YAML",
    help="What loads a checkpoint, or all of them, with options; default: what its run says, or else what knows it.",
)
@click.option("--attention", default="sdpa", show_default=True, metavar="NAME")
@device_option
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with a model.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write the rows as CSV as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--mlflow",
    is_flag=False,
    flag_value=BESIDE,
    metavar="[URI]",
    help="Log to MLflow: to this store or server, or else to runs/mlflow.db.",
)
@click.option("--experiment", default="tide-bench", show_default=True, metavar="NAME", help="Of --mlflow.")
@plugin_option
def command(
    checkpoints: tuple[str, ...],
    baseline: str | None,
    sampler: str | None,
    options: tuple[str, ...],
    architectures: tuple[str, ...],
    csv_file: str | None,
    as_json: bool,
    mlflow: str | None,
    experiment: str,
    plugins: tuple[str, ...],
    **settings: Any,
) -> None:
    """Measure what generation costs, models side by side. CHECKPOINT as in `tide generate`.

    Each model is loaded in a process of its own and writes a fixed number of tokens, with and without its cache.

    \b
    Example:
      tide bench runs/demo
      tide bench ./teacher runs/demo -b 1 -b 8 -n 256 --dtype bfloat16 --device cuda --csv costs.csv
      tide bench ./llama runs/demo --architecture './llama={name: huggingface, form: autoregressive}' --mlflow
    """
    registry = load_registry(plugins)
    protocol = _protocol(**settings)
    paths = [*([baseline] if baseline not in {None, *checkpoints} else []), *checkpoints]
    entries = _entries(paths, registry, architectures, sampler, options)
    tracked = _tracked(mlflow, experiment, registry)
    _check(entries, protocol, registry, csv_file)
    if tracked is not None:
        with spoken():
            tracked.start(protocol, {entry.label: (entry.architecture, entry.sampler) for entry in entries})
    labels = {path: entry.label for path, entry in reversed(list(zip(paths, entries, strict=True)))}
    found = Findings(reference=labels[baseline or paths[0]], protocol=protocol)
    whole = False
    try:
        found.measure([entry.job(protocol, plugins) for entry in entries])
        whole = True
    finally:
        # What was measured before something went wrong is still worth having.
        _report(found, csv_file, tracked, as_json=as_json, whole=whole)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A checkpoint with what loads it and what writes with it."""

    label: str
    path: str
    architecture: Architecture
    sampler: Sampler

    def job(self, protocol: Protocol, plugins: Sequence[str]) -> Job:
        """Return what its process is told."""
        from ..bench.protocol import Contender, Job

        contender = Contender(
            label=self.label,
            path=self.path,
            form=self.architecture.denoiser_form,
            architecture=self.architecture.model_dump(mode="json"),
            sampler=self.sampler.model_dump(mode="json"),
        )
        return Job(protocol=protocol, contender=contender, plugins=list(plugins))


@dataclass(kw_only=True)
class Findings:
    """What was measured so far."""

    reference: str
    protocol: Protocol
    contenders: list[Contender] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def measure(self, jobs: Sequence[Job]) -> None:
        """Measure one model after the other."""
        from ..bench.processes import run_job
        from ..bench.protocol import Row

        self.contenders = [job.contender for job in jobs]
        with console(error=True).status("starting") as status:
            for job in jobs:
                label = job.contender.label
                status.update(f"{label}: loading")
                for item in run_job(job):
                    (self.rows if isinstance(item, Row) else self.models).append(item)  # type: ignore[arg-type]
                    status.update(f"{label}: measuring ({len(self.rows)} rows so far)")

    def report(self) -> dict[str, Any]:
        """Return everything as plain data."""
        from ..bench.comparison import records

        return {
            "protocol": asdict(self.protocol),
            "reference": self.reference,
            "contenders": [asdict(contender) for contender in self.contenders],
            "models": [asdict(model) for model in self.models],
            "rows": records(self.rows, self.reference),
        }


def _protocol(*, prompts: tuple[str, ...], cache: str, **settings: Any) -> Protocol:
    from ..bench.prompts import PROMPTS
    from ..bench.protocol import Protocol

    return Protocol(prompts=prompts or PROMPTS, caches=CACHES[cache], **settings)


def _entries(
    paths: Sequence[str], registry: Registry, architectures: Sequence[str], sampler: str | None, options: Sequence[str]
) -> list[Entry]:
    """Build what loads and what writes, for every checkpoint."""
    from ..bench.checks import distinct_labels
    from ..saved_students import find_student, student_architecture

    given = _architectures(architectures, paths)
    built = [student_architecture(find_student(path), registry, given.get(path, given.get(""))) for path in paths]
    samplers = _samplers(built, registry, sampler, options)
    return [
        Entry(label=label, path=path, architecture=architecture, sampler=writer)
        for label, path, architecture, writer in zip(distinct_labels(paths), paths, built, samplers, strict=True)
    ]


def _architectures(given: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
    """``["./llama={...}", "huggingface"]`` -> checkpoint -> architecture; ``""`` stands for all the others."""
    found: dict[str, str] = {}
    for text in given:
        path, _, value = text.partition("=")
        found.update({path: value} if path in paths else {"": text})
    return found


def _samplers(
    architectures: Sequence[Architecture], registry: Registry, name: str | None, options: Sequence[str]
) -> list[Any]:
    """Build each model's sampler, with those options that it has; one that none of them has is an error."""
    from tide_specs import ConfigError

    wanted = sampler_options(options)
    if "cache" in wanted:
        raise ConfigError("--set cache: say it with --cache on, --cache off or --cache both")
    names = [a.usual_sampler if a.denoiser_form == "autoregressive" else name or a.usual_sampler for a in architectures]
    known = {each: type(registry.build("sampler", each)).model_fields for each in names}
    for option in wanted:
        if not any(option in fields for fields in known.values()):
            registry.build("sampler", {"name": names[-1], option: wanted[option]})
    return [
        registry.build("sampler", {"name": each, **{k: v for k, v in wanted.items() if k in known[each]}})
        for each in names
    ]


def _tracked(uri: str | None, experiment: str, registry: Registry) -> Tracked | None:
    from tide_specs import ConfigError

    if uri is None:
        return None
    if uri != BESIDE and "://" not in uri:
        raise ConfigError(
            f"--mlflow {uri}: is no tracking URI; write one such as sqlite:///bench.db or http://127.0.0.1:5000, or put "
            "--mlflow behind the checkpoints"
        )
    from ..bench.tracking import Tracked

    # Sampling the machine's use meanwhile would take part in what is measured.
    options: dict[str, Any] = {"name": "mlflow", "experiment": experiment, "system_metrics": False}
    observer = registry.build("observer", options if uri == BESIDE else {**options, "tracking_uri": uri})
    return Tracked(observer, registry, Path("runs") / time.strftime("bench-%Y%m%d-%H%M%S"))


def _check(entries: Sequence[Entry], protocol: Protocol, registry: Registry, csv_file: str | None) -> None:
    """Find what is wrong before anything loads."""
    from ..bench.checks import require_device, require_model, require_writable

    if csv_file is not None:
        require_writable(csv_file)
    require_device(protocol, registry)
    for entry in entries:
        require_model(entry.label, entry.architecture, protocol, registry)


def _report(found: Findings, csv_file: str | None, tracked: Tracked | None, *, as_json: bool, whole: bool) -> None:
    report = found.report()
    if csv_file is not None and found.rows:
        from ..bench.comparison import as_csv

        Path(csv_file).write_text(as_csv(report["rows"]), encoding="utf-8")
    if tracked is not None:
        with spoken():
            tracked.finish(report, whole=whole)
    if as_json and whole:
        click.echo(json.dumps(report, indent=2, default=str, ensure_ascii=False))
    elif found.rows:
        _print(report, found)


def _print(report: Mapping[str, Any], found: Findings) -> None:
    from ..bench.table import notes, table

    out = console()
    out.print(table(report["rows"]))
    out.print()
    for line in notes(report["rows"], found.models[0].machine, found.reference):
        click.echo(line)
