"""Does distillation beat cross-entropy, and where? Objectives x amounts of data x seeds, on the demo's models.

Run ``python benchmarks/objectives.py`` after the demo. Every cell is one ``tide run`` of its own; a finished cell is not
run again. Writes ``docs/assets/objectives.csv``, a plot of the curves and the tables of ``docs/results.md``.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cells import ROOT, finished, interval, tide

BASE = ROOT / "examples" / "demo" / "cross_entropy.yaml"
ASSETS = ROOT / "docs" / "assets"
CSV = ASSETS / "objectives.csv"

OBJECTIVES = {
    "cross_entropy": "[cross_entropy]",
    "tide_cross": "[cross_entropy, {name: reverse_calm, temperature: 2}]",
    "tide_cross_corrected": "[cross_entropy, {name: bernoulli_kl, direction: forward, temperature: 1, weight: 3}]",
    "forward_kl": "[cross_entropy, {name: forward_kl, temperature: 2, weight: 3}]",
    "projected_kl": "[cross_entropy, {name: projected_kl, weight: 3}]",
    "projected_kl_uncorrected": "[cross_entropy, {name: projected_kl, weight: 3}]",
    "minimum_edit": "[cross_entropy, {name: projected_kl, weight: 3}]",
    "uld": "[cross_entropy, {name: uld, weight: 3}]",
    "multi_resolution": "[cross_entropy, {name: multi_resolution_calm, objective: bernoulli_kl, direction: forward, temperature: 1, weight: 3}]",
}
BASELINE = "cross_entropy"
ALIGNMENTS = {
    "forward_kl": "shared_vocabulary",
    "projected_kl": "vocabulary_projection",
    "projected_kl_uncorrected": "{name: vocabulary_projection, correct_undershoot: false}",
    "minimum_edit": "minimum_edit",
    "uld": "ranked",
}
"""Of the objectives that need more than chunks."""
CHUNKS = ("cross_entropy", "tide_cross", "tide_cross_corrected")
PROJECTED = (
    "projected_kl",
    "projected_kl_uncorrected",
    "minimum_edit",
    "uld",
    "multi_resolution",
)


@dataclass(frozen=True)
class Regime:
    """``examples``: functions to learn from; ``steps`` of the optimizer; ``settings``: what differs from the demo; which
    objectives are compared."""

    examples: int
    steps: int
    settings: tuple[str, ...] = ()
    objectives: tuple[str, ...] = CHUNKS


BOTH_WAYS = ("student.form=bidirectional", "student.block_size=null")
"""The student reads the noised text on both sides of a gap, as the teacher does."""
ONE_VOCABULARY = ("student.tokenizer_from=examples/demo/teacher-tokenizer", "data.max_length=144")

REGIMES = {
    "little data": Regime(400, 150),
    "few steps": Regime(8000, 50),
    "many passes": Regime(400, 400),
    "many passes, both ways": Regime(400, 400, BOTH_WAYS),
    "many passes, both ways, projected": Regime(400, 400, BOTH_WAYS, ("cross_entropy", *PROJECTED)),
    **{
        f"many passes, both ways, noise drawn {name}": Regime(
            400, 400, (*BOTH_WAYS, f"training.noise_draws={draws}"), ("cross_entropy", "tide_cross_corrected")
        )
        for draws, name in ((1, "once"), (2, "twice"))
    },
    "many passes, both ways, one vocabulary": Regime(400, 400, (*BOTH_WAYS, *ONE_VOCABULARY), (*CHUNKS, "forward_kl")),
}


@dataclass(frozen=True)
class Cell:
    """One run."""

    regime: str
    objective: str
    seed: int

    @property
    def output(self) -> Path:
        name = "-".join((self.regime, self.objective, str(self.seed)))
        return ROOT / "runs" / "objectives" / "".join(c if c.isalnum() or c == "-" else "_" for c in name)

    @property
    def log(self) -> Path:
        return self.output / "events.jsonl"

    def finished(self) -> bool:
        return finished(self.log)

    def run(self) -> None:
        regime = REGIMES[self.regime]
        settings = [
            *regime.settings,
            f"losses={OBJECTIVES[self.objective]}",
            f"alignment={ALIGNMENTS.get(self.objective, 'byte_chunks')}",
            f"data.max_examples={regime.examples}",
            f"training.steps={regime.steps}",
            f"training.seed={self.seed}",
            "training.workers=0",
            "evaluation[0].score_teacher=false",  # it is the same for every cell; the demo prints it
            "observers=[]",
            f"output={self.output}",
        ]
        tide(BASE, settings)

    def metrics(self) -> dict[str, float]:
        """Final evaluation: metric -> value."""
        found: dict[str, float] = {}
        for line in self.log.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "evaluation_finished":
                found.update({name: e["value"] for name, e in event["evaluation"]["metrics"].items()})
        return found


def run_all(cells: Sequence[Cell], parallel: int) -> None:
    waiting = [cell for cell in cells if not cell.finished()]
    print(f"{len(cells)} cells, {len(waiting)} to run, {parallel} at a time", flush=True)
    with ThreadPoolExecutor(parallel) as pool:
        for number, cell in enumerate(pool.map(_run_and_name, waiting), 1):
            print(f"{number}/{len(waiting)} {cell.regime}, {cell.objective}, seed {cell.seed}", flush=True)


def _run_and_name(cell: Cell) -> Cell:
    cell.run()
    return cell


def rows(cells: Iterable[Cell]) -> Iterator[dict[str, object]]:
    for cell in cells:
        if cell.finished():
            metrics = cell.metrics()
            yield {
                "regime": cell.regime,
                "objective": cell.objective,
                "seed": cell.seed,
                "bits_per_byte": metrics["bits_per_byte"],
                "bernoulli_kl": metrics["bernoulli_kl"],
                "log_likelihood_gap": metrics["log_likelihood_gap"],
            }


def others(cells: Sequence[Cell]) -> Iterator[dict[str, object]]:
    """Rows on record of regimes and objectives that were not asked for: they stay as they are."""
    asked = {(cell.regime, cell.objective) for cell in cells}
    if CSV.exists():
        with CSV.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["regime"] in REGIMES and (row["regime"], row["objective"]) not in asked:
                    yield row


def paired(table: Sequence[dict[str, object]], regime: str, objective: str, metric: str) -> list[float]:
    """Difference against the baseline, seed by seed."""
    value = {(r["regime"], r["objective"], r["seed"]): float(str(r[metric])) for r in table}
    seeds = sorted({seed for (r, o, seed) in value if r == regime and o == objective})
    return [
        value[regime, objective, seed] - value[regime, BASELINE, seed]
        for seed in seeds
        if (regime, BASELINE, seed) in value
    ]


def markdown(table: Sequence[dict[str, object]]) -> Iterator[str]:
    for regime, its in REGIMES.items():
        here = [r for r in table if r["regime"] == regime]
        if not here:
            continue
        yield f"## {regime}: {its.examples:,} functions, {its.steps} steps\n"
        yield "| objective | bits per byte (mean, sd) | against cross-entropy (95 % interval) | KL to the teacher | seeds |"
        yield "|---|---|---|---|---|"
        for objective in its.objectives:
            values = [float(str(r["bits_per_byte"])) for r in here if r["objective"] == objective]
            if values:
                yield _line(table, regime, objective, values, here)
        yield ""


def _line(
    table: Sequence[dict[str, object]],
    regime: str,
    objective: str,
    values: Sequence[float],
    here: Sequence[dict[str, object]],
) -> str:
    kl = [float(str(r["bernoulli_kl"])) for r in here if r["objective"] == objective]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    gaps = paired(table, regime, objective, "bits_per_byte")
    against = interval(gaps) if objective != BASELINE else ""
    mean_kl = statistics.mean(kl)
    return f"| {objective} | {statistics.mean(values):.3f}, {spread:.3f} | {against} | {mean_kl:.4f} | {len(values)} |"


def plot(cells: Sequence[Cell], path: Path) -> None:
    """Cross-entropy of the first regime's seed-0 runs over steps; nothing where they were not asked for."""
    drawn = [cell for cell in cells if cell.seed == 0 and cell.regime == next(iter(REGIMES)) and cell.finished()]
    if not drawn:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for cell in drawn:
        events = [json.loads(line) for line in cell.log.read_text().splitlines()]
        logged = [e for e in events if e["event"] == "metrics_logged"]
        curve = [e["metrics"]["loss/cross_entropy"] for e in logged]
        axes.plot([e["step"] for e in logged], curve, label=cell.objective, linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("masked cross-entropy, nats per token")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--regimes", nargs="*", default=list(REGIMES), choices=list(REGIMES))
    parser.add_argument("--objectives", nargs="*", default=list(OBJECTIVES), choices=list(OBJECTIVES))
    arguments = parser.parse_args()
    grid = itertools.product(arguments.regimes, range(arguments.seeds))
    cells = [
        Cell(regime, objective, seed)
        for regime, seed in grid
        for objective in REGIMES[regime].objectives
        if objective in arguments.objectives
    ]
    run_all(cells, arguments.parallel)
    table = sorted([*others(cells), *rows(cells)], key=lambda row: list(REGIMES).index(str(row["regime"])))
    ASSETS.mkdir(parents=True, exist_ok=True)
    with CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    plot(cells, ASSETS / "objectives.png")
    print("\n".join(markdown(table)))


if __name__ == "__main__":
    main()
