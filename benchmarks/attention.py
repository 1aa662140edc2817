"""Structured attention against a dense mask, forward and backward, in one process and in turn.

    python benchmarks/attention.py [--rounds N] [--threads N] [--cpu-time]

For each shape: the time of the dense-masked square, of the tiles, and their ratio round by round (median and spread), and which
share of this machine's own rate for matrix products the *visible* products were computed at.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tide_plugins.attention.sdpa import Sdpa
from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, BlockCausal, BlockDiffusion

# Forward: QK' and PV. Backward: both operands of each, and QK' once more, since fused kernels recompute it.
PRODUCTS_PER_PAIR = 7
Clock = Callable[[], float]


@dataclass(frozen=True)
class Shape:
    """Rows, query heads, key heads and head width of one measurement."""

    rows: int
    heads: int
    key_heads: int
    width: int = 64


def tensors_of(shape: Shape, layout: AttentionLayout, device: str) -> list[Tensor]:
    """Query, key and value as a model makes them: [B, positions, heads, D], transposed."""
    sizes = [
        (layout.query_length, shape.heads),
        (layout.key_length, shape.key_heads),
        (layout.key_length, shape.key_heads),
    ]
    made = [torch.randn(shape.rows, n, heads, shape.width, device=device).requires_grad_() for n, heads in sizes]
    return [tensor.transpose(1, 2) for tensor in made]


def with_backend(backend: AttentionBackend, tensors: list[Tensor], layout: AttentionLayout) -> Callable[[], Tensor]:
    options = AttentionOptions(scale=tensors[0].shape[-1] ** -0.5)
    return lambda: backend.attend(*tensors, layout, options)


def with_dense_mask(tensors: list[Tensor], layout: AttentionLayout) -> Callable[[], Tensor]:
    mask = layout.dense(device=tensors[0].device)
    grouped = tensors[0].shape[1] != tensors[1].shape[1]
    return lambda: scaled_dot_product_attention(*tensors, attn_mask=mask, enable_gqa=grouped)


def timed(work: Callable[[], object], clock: Clock) -> float:
    """Seconds that ``work`` takes."""
    start = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def matrix_rate(device: str, clock: Clock) -> float:
    """Multiply-adds per second of a large float32 matrix product, the best of several."""
    left, right = (torch.randn(1024, 1024, device=device) for _ in range(2))
    return 1024**3 / min(timed(lambda: left @ right, clock) for _ in range(10))


def measure(layout: AttentionLayout, shape: Shape, rounds: int, device: str, clock: Clock) -> str:
    """Median milliseconds of both, their ratio with its spread, and the share of the matrix rate."""
    tensors = tensors_of(shape, layout, device)
    contenders = [with_dense_mask(tensors, layout), with_backend(Sdpa(), tensors, layout)]
    torch.testing.assert_close(contenders[1](), contenders[0](), atol=1e-5, rtol=1e-4)
    gradient = torch.randn_like(tensors[0])
    passes = [lambda attend=attend: attend().backward(gradient) for attend in contenders]
    for work in passes:
        timed(work, clock)
    rate = matrix_rate(device, clock)
    dense, tiled = zip(*([timed(work, clock) for work in passes] for _ in range(rounds)), strict=True)
    ratios = sorted(a / b for a, b in zip(dense, tiled, strict=True))
    visible = int(layout.dense().sum()) * shape.rows * shape.heads * shape.width * PRODUCTS_PER_PAIR
    low, high = ratios[rounds // 10], ratios[-1 - rounds // 10]
    return (
        f"{statistics.median(dense) * 1e3:8.1f} {statistics.median(tiled) * 1e3:8.1f} {statistics.median(ratios):6.2f}"
        f"  {low:.2f}-{high:.2f}  {visible / statistics.median(tiled) / rate:6.0%}"
    )


def layouts(length: int) -> dict[str, AttentionLayout]:
    return {
        f"block_diffusion {length}": BlockDiffusion(length=length, block=32),
        f"block_diffusion {length}, 2 streams": BlockDiffusion(length=length, block=32, streams=2),
        f"block_causal {length}": BlockCausal(length=length, block=32),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="structured attention against a dense mask")
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each contender, in turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true", help="processor time, for a machine that others use as well")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"torch {torch.__version__}, {device}, {arguments.threads} threads, float32, forward and backward, clock {clock.__name__}"
    )
    print(
        f"{'layout, rows x heads (key heads)':<44} {'dense ms':>8} {'tiles ms':>8} {'ratio':>6}  {'10-90 %':>9}  of matmul"
    )
    for length in (512, 1024):
        for shape in (Shape(2, 8, 8), Shape(2, 8, 2)):
            for name, layout in layouts(length).items():
                label = f"{name}, {shape.rows} x {shape.heads} ({shape.key_heads})"
                print(f"{label:<44} {measure(layout, shape, arguments.rounds, device, clock)}", flush=True)


if __name__ == "__main__":
    main()
