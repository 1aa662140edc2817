"""The model card: what a saved student is, how it was made, and how well it does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tide_specs import Evaluation


def write_model_card(
    directory: Path, state: Mapping[str, Any], evaluations: Mapping[str, Evaluation], step: int
) -> None:
    """Write ``README.md`` into a saved student's directory: scores, method, data hash, component versions, config."""
    config, facts = state["config"], state["facts"]
    losses = ", ".join(loss["name"] for loss in config["losses"])
    sections = [
        "---\nlibrary_name: transformers\ntags: [diffusion, distillation, tide]\n---",
        "# A diffusion language model trained with TIDE",
        _summary(config, facts, losses, step),
        "## Scores\n\n" + _scores(evaluations),
        "## Use\n\n```bash\ntide generate . -p 'def median(values):'\n```\n\nIn a run file: `{name: huggingface, model: <this directory>}`.",
        "## Components\n\n" + _components(state["components"]),
        "## Configuration\n\n```json\n" + json.dumps(config, indent=1) + "\n```",
    ]
    (directory / "README.md").write_text("\n\n".join(sections) + "\n")


def _summary(config: Mapping[str, Any], facts: Mapping[str, Any], losses: str, step: int) -> str:
    teacher = config["teacher"]
    taught = "without a teacher" if teacher is None else f"by {teacher.get('model') or teacher['name']}"
    return (
        f"Trained {taught} for {step} steps with {losses}. Parameters: {facts['student'].get('parameters', 0):,}. "
        f"Data hash: `{facts['data']}`."
    )


def _scores(evaluations: Mapping[str, Evaluation]) -> str:
    rows = [
        f"| {name} | {metric} | {e.value:.4f} | {'' if e.low is None else f'{e.low:.4f} to {e.high:.4f}'} |"
        for name, evaluation in evaluations.items()
        for metric, e in evaluation.metrics.items()
    ]
    if not rows:
        return "Not evaluated."
    return "\n".join(["| evaluator | metric | value | 95 % interval |", "|---|---|---|---|", *rows])


def _components(records: list[Mapping[str, Any]]) -> str:
    rows = [
        f"| {r['kind']} | {r['name']} | {r['version']} | {r['distribution']} {r['distribution_version']} |"
        for r in records
    ]
    return "\n".join(["| kind | name | version | distribution |", "|---|---|---|---|", *rows])
