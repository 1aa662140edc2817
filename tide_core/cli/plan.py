"""``tide plan``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from .common import console, load_registry, override_option, plugin_option, print_warnings, run_file

if TYPE_CHECKING:
    from ..plan import ModelCost, RunPlan


@click.command()
@run_file
@override_option
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(file: str, overrides: tuple[str, ...], plugins: tuple[str, ...], as_json: bool) -> None:
    """Show what a run would cost before any of it is spent. No weights are loaded.

    Estimates for one process: parameters, memory, arithmetic per step and in all, and the teachers' share of it.

    \b
    Example:
      tide plan run.yaml --set training.batch_size=32
    """
    from ..compatibility import require_mix
    from ..config import load_run
    from ..plan import plan_run

    registry = load_registry(plugins)
    loaded = load_run(file, overrides, registry=registry)
    print_warnings(require_mix(loaded.config, registry, loaded.source))
    if loaded.config.recipe is not None:
        from ..recipes.planning import plan_stages
        from .plan_stages import show_stages

        with loaded.located():
            show_stages(plan_stages(loaded.config, registry, loaded.source), as_json=as_json)
        return
    with loaded.located():
        plan = plan_run(loaded.config, registry)
    if as_json:
        click.echo(json.dumps(as_record(plan), indent=2))
    else:
        print_plan(plan)


def as_record(plan: RunPlan) -> dict[str, Any]:
    """The plan as plain data; FLOPs are floating-point operations, memory is in bytes."""
    from dataclasses import asdict

    derived = ("tokens", "flops_per_step", "flops", "teacher_share", "bytes")
    return {**asdict(plan), **{name: getattr(plan, name) for name in derived}}


def print_plan(plan: RunPlan) -> None:
    """Print the plan as two tables and a summary."""
    from rich.table import Table

    out = console()
    models = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "form", "parameters", "trainable", "FLOPs a step"):
        models.add_column(column, justify="left" if column in {"model", "form"} else "right")
    for role, cost in (*(("teacher", teacher) for teacher in plan.teachers), ("student", plan.student)):
        models.add_row(f"{role}: {cost.name}", cost.form, *_numbers(role, cost))
    out.print(models)
    out.print()
    memory = Table(box=None, pad_edge=False, header_style="bold")
    memory.add_column("memory, about")
    memory.add_column("", justify="right")
    for what, size in {**plan.memory, "in all": plan.bytes}.items():
        memory.add_row(what, quantity(size, "B"))
    out.print(memory)
    out.print()
    for line in summary(plan):
        out.print(line)


def _numbers(role: str, cost: ModelCost) -> tuple[str, str, str]:
    if not cost.known:
        return ("unknown", "unknown", "unknown")
    trainable = quantity(cost.trainable) if role == "student" else "frozen" if cost.loads else "on disk"
    return (quantity(cost.parameters), trainable, quantity(cost.flops))


def summary(plan: RunPlan) -> list[str]:
    """The sentences below the tables."""
    lines = [
        f"{plan.steps} steps of at most {quantity(plan.tokens_per_step)} student tokens: {quantity(plan.tokens)} in all, "
        f"of which {plan.masked_share:.0%} of the trainable ones are masked on average",
        f"arithmetic: {quantity(plan.flops_per_step)} FLOPs a step, {quantity(plan.flops)} in all",
    ]
    if plan.teachers:
        passes = "1 pass" if plan.teacher_passes == 1 else f"{plan.teacher_passes} passes"
        who = "teacher" if len(plan.teachers) == 1 else f"{len(plan.teachers)} teachers"
        lines.append(f"{who}: {passes} a step, {plan.teacher_share:.0%} of the arithmetic")
    if not plan.known:
        lines.append("an architecture did not say how large it is, so the totals leave it out")
    return lines


def quantity(value: float, unit: str = "") -> str:
    """``12_300_000`` -> ``12.3 M``; bytes in powers of 1024."""
    base, prefixes = (
        (1024.0, ("", "Ki", "Mi", "Gi", "Ti", "Pi")) if unit else (1000.0, ("", "k", "M", "G", "T", "P", "E"))
    )
    power = 0
    while value >= base and power < len(prefixes) - 1:
        value, power = value / base, power + 1
    number = f"{value:.0f}" if power == 0 or value >= 100 else f"{value:.1f}"
    return f"{number} {prefixes[power]}{unit}".rstrip()
