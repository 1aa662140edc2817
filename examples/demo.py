"""A small diffusion language model learns to complete Python functions: alone, and from a larger teacher.

Run ``make demo`` or ``python examples/demo.py``. The teacher reads the text in both directions with byte-level BPE; the
students are block-diffusion models of another family whose tokenizer cuts the text elsewhere. Every run has the same data,
steps and seed; only the objective differs.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table

from tide_core.assembly import describer, load_model
from tide_core.config import load_run
from tide_core.registry import Registry
from tide_core.run import Outcome, run
from tide_core.run_schema import RunConfig
from tide_specs import Estimate, Message

HERE = Path(__file__).parent / "demo"
RUNS = {
    "cross-entropy alone": "cross_entropy",
    "TIDE-Cross, published": "tide_cross",
    "TIDE-Cross, corrected": "tide_cross_corrected",
}
PROMPT = 'def __repr__(self):\n    """Return a printable representation."""\n'


@dataclass(frozen=True, kw_only=True)
class Result:
    """One finished run."""

    outcome: Outcome
    config: RunConfig
    facts: Mapping[str, Any]
    tokens_per_second: float
    seconds: float

    def metric(self, evaluator: str, name: str) -> Estimate:
        """Return one metric of the last evaluation."""
        return self.outcome.evaluations[evaluator].metrics[name]


def train(name: str, registry: Registry, overrides: Sequence[str]) -> Result:
    """Run one of the demo's files from the start; what an earlier demo left of it is replaced."""
    config = load_run(HERE / f"{name}.yaml", overrides, registry=registry).config
    shutil.rmtree(config.output, ignore_errors=True)
    begun = time.perf_counter()
    outcome = run(config, registry)
    seconds = time.perf_counter() - begun
    events = [json.loads(line) for line in (outcome.directory / "events.jsonl").read_text().splitlines()]
    rates = [e["metrics"]["tokens_per_second"] for e in events if e["event"] == "metrics_logged"]
    facts = next(e["facts"] for e in events if e["event"] == "run_started")
    rate = sorted(rates)[len(rates) // 2]
    return Result(outcome=outcome, config=config, facts=facts, tokens_per_second=rate, seconds=seconds)


def show(results: Mapping[str, Result], console: Console) -> None:
    """Print the table."""
    table = Table(title="Python functions, held-out modules; 95 % intervals over functions", title_justify="left")
    table.add_column("objective", no_wrap=True)
    for heading in ("bits per byte", "KL to the teacher", "tokens/s", "parameters", "seconds"):
        table.add_column(heading, justify="right")
    first = next(iter(results.values()))
    teacher = first.metric("bits_per_byte", "teacher_bits_per_byte")
    table.add_row("the teacher itself", interval(teacher), "0", "", f"{first.facts['teacher']['parameters']:,}", "")
    for name, result in results.items():
        table.add_row(
            name,
            interval(result.metric("bits_per_byte", "bits_per_byte")),
            interval(result.metric("teacher_divergence", "bernoulli_kl")),
            f"{result.tokens_per_second:,.0f}",
            f"{result.facts['student']['parameters']:,}",
            f"{result.seconds:.0f}",
        )
    console.print(table)


def interval(estimate: Estimate) -> str:
    """Format a number with its interval."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def complete(result: Result, registry: Registry, console: Console) -> None:
    """Let the teacher and the last student complete one function."""
    import torch

    sampler = registry.build("sampler", {"name": "block", "block_length": 16})
    student = {"name": "huggingface", "model": str(result.outcome.student)}
    config = result.config.model_copy(update={"student": registry.build("architecture", student)})
    for role in ("teacher", "student"):
        model = load_model(config, role, torch.device("cpu"), describer(registry))
        model.module.eval()
        prompt = model.tokenizer.encode_prompt([Message(role="text", content=PROMPT)])
        sampled = sampler.sample(model, [prompt], max_new_tokens=32, seed=1)
        text = PROMPT + model.tokenizer.decode(sampled.ids[0])
        console.print(
            Panel(Syntax(text, "python"), title=f"the {role} completes, in {sampled.forwards} forward passes")
        )


def main() -> None:
    """Train three students, compare them, write some text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for chatty in ("mlflow", "alembic", "transformers"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    console, registry = Console(), Registry.discover()
    results: dict[str, Result] = {}
    for title, name in RUNS.items():
        console.rule(f"{title}  (examples/demo/{name}.yaml)")
        results[title] = train(name, registry, arguments.overrides)
    console.rule("results")
    show(results, console)
    complete(list(results.values())[-1], registry, console)
    console.print(
        "Curves, parameters and artifacts of all runs:  .venv/bin/mlflow ui --backend-store-uri sqlite:///runs/demo/mlflow.db"
    )
    console.print("What more seeds and other amounts of data say:  docs/results.md")


if __name__ == "__main__":
    main()
