"""What a recipe costs: the sum over its stages."""

from __future__ import annotations

from tide_core.plan import RunPlan, plan_run
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_core.yaml_source import Source

from .staging import all_staged


def plan_stages(config: RunConfig, registry: Registry, source: Source | None = None) -> dict[str, RunPlan]:
    """Estimate every stage. Raises what ``plan_run`` raises."""
    return {one.stage.name: plan_run(one.config, registry) for one in all_staged(config, registry, source)}
