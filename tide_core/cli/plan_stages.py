"""``tide plan`` of a run file with a recipe: every stage, and their sum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from .common import console
from .plan import as_record, print_plan, quantity

if TYPE_CHECKING:
    from ..plan import RunPlan


def show_stages(plans: Mapping[str, RunPlan], *, as_json: bool) -> None:
    """Print the plan of every stage and what all of them cost together."""
    steps, tokens, flops = (
        sum(getattr(plan, what) for plan in plans.values()) for what in ("steps", "tokens", "flops")
    )
    passes = sum(plan.steps * plan.teacher_passes for plan in plans.values())
    if as_json:
        whole = {"steps": steps, "tokens": tokens, "flops": flops, "teacher_passes": passes}
        click.echo(json.dumps({**whole, "stages": {name: as_record(plan) for name, plan in plans.items()}}, indent=2))
        return
    out = console()
    for name, plan in plans.items():
        out.print(f"stage {name}", style="bold")
        print_plan(plan)
        out.print()
    out.print(
        f"{len(plans)} stages: {steps} steps, at most {quantity(tokens)} student tokens, {passes} passes of teachers over a "
        f"batch, {quantity(flops)} FLOPs in all"
    )
