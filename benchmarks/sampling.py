"""The ``block`` sampler with its exact cache against the published sampler's algorithm, each in its own process, in turn.

    python benchmarks/sampling.py [--shape body|head|all] [--rows N ...] [--per-step N ...] [--rounds N] [--threads N]

Same model with random weights, same prompts of 500 tokens, 256 new tokens; before anything is timed both must have written the
same. See ``docs/performance.md`` for what the figures mean.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from typing import Any

import torch
from sampling_worker import SHAPES, Shape
from step import spread
from worker_process import Process

VARIANTS = ("ours", "reference")
MIB = 1 << 20
Measured = dict[str, list[dict[str, Any]]]
"""Variant -> what each round said."""


def measure(processes: dict[str, Process], rows: int, per_step: int, rounds: int) -> tuple[dict[str, Any], Measured]:
    """Return what each variant does, and its rounds. Stops when the two do not write the same."""
    inspected = {
        variant: process.ask("inspect", rows=rows, per_step=per_step) for variant, process in processes.items()
    }
    refuse_difference(inspected)
    measured: Measured = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        # Who begins changes from round to round.
        for variant in VARIANTS if number % 2 else VARIANTS[::-1]:
            measured[variant].append(processes[variant].ask("round", rows=rows, per_step=per_step))
        print(f"  round {number + 1}/{rounds}", end="\r", file=sys.stderr, flush=True)
    return inspected, measured


def refuse_difference(inspected: dict[str, Any]) -> None:
    """Stop unless both samplers wrote the same tokens."""
    a, b = (inspected[variant] for variant in VARIANTS)
    if a["written"] != b["written"]:
        same = [x == y for x, y in zip(a["first"], b["first"], strict=False)]
        raise SystemExit(
            f"the two samplers write different tokens; of the first row {sum(same)} of {len(a['first'])} agree"
        )


def report(rows: int, per_step: int, inspected: dict[str, Any], measured: Measured) -> None:
    print(f"\n  batch {rows}, {per_step} token(s) of a row a step; load average {os.getloadavg()[0]:.1f}")
    line = "  {:<11} {:>22} {:>10} {:>9} {:>10} {:>12} {:>22} {:>9}"
    print(
        line.format(
            "", "seconds [IQR]", "tokens/s", "forwards", "tok/fwd", "pos/token", "share of matmul [IQR]", "peak MiB"
        )
    )
    for variant in VARIANTS:
        facts, rounds = inspected[variant], measured[variant]
        seconds = [entry["seconds"] for entry in rounds]
        shares = [facts["flops"] / entry["seconds"] / entry["rate"] for entry in rounds]
        print(
            line.format(
                variant,
                spread(seconds, ".2f"),
                f"{facts['tokens'] / statistics.median(seconds):.1f}",
                facts["forwards"],
                f"{facts['tokens'] / facts['forwards']:.2f}",
                f"{facts['positions'] / facts['tokens']:.1f}",
                spread(shares, ".0%"),
                f"{max(entry['peak'] for entry in rounds) / MIB:.0f}",
            )
        )
    pairs = list(zip(measured["reference"], measured["ours"], strict=True))
    ratios = [slow["seconds"] / fast["seconds"] for slow, fast in pairs]
    flops = {variant: inspected[variant]["flops"] for variant in VARIANTS}
    rate = statistics.median(entry["rate"] for entries in measured.values() for entry in entries) / 1e9
    print(f"  ours is faster by {spread(ratios, '.2f')}; same tokens; operations {flops['ours'] / 1e12:.2f} against "
          f"{flops['reference'] / 1e12:.2f} TFLOP; the machine's own matrix product: {rate:.0f} GFLOP/s")  # fmt: skip


def run(shape: str, arguments: argparse.Namespace) -> None:
    made: Shape = SHAPES[shape]
    print(f"\n{shape}: {made.title}; prompt {made.prompt}, {made.new_tokens} new tokens")
    processes = {variant: Process("sampling_worker.py", shape, variant, arguments.threads) for variant in VARIANTS}
    for rows in arguments.rows:
        for per_step in arguments.per_step:
            report(rows, per_step, *measure(processes, rows, per_step, arguments.rounds))
    for process in processes.values():
        process.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="the block sampler against the published one's algorithm")
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8], help="batch sizes")
    parser.add_argument("--per-step", type=int, nargs="+", default=[1, 4], help="tokens of a row that a step commits")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each variant, in turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, cpu, {arguments.threads} threads, float32")
    chosen = [name for name in SHAPES if name != "tiny"] if arguments.shape == "all" else [arguments.shape]
    for shape in chosen:
        run(shape, arguments)


if __name__ == "__main__":
    main()
