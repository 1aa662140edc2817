"""One variant of the step in a process of its own; ``step.py`` starts it and tells it when to run.

Reads commands, one JSON object a line, and answers each with one JSON object.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from step_reference import examples, reference_loss
from step_shapes import BLOCK, SHAPES, Work
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count
from worker_process import serve

from tide_core.bench.counting import missing_formulas
from tide_core.bench.memory import ResidentMeter

aten = torch.ops.aten


def _sdpa_backward(grad: Any, query: Any, key: Any, value: Any, *others: Any, **kwargs: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


UNCOUNTED = {**missing_formulas(), aten._scaled_dot_product_flash_attention_for_cpu_backward: _sdpa_backward}
"""Operations that torch's counter leaves out, and how many they make."""


def matrix_rate(repetitions: int = 3) -> float:
    """Floating-point operations per second of this machine's float32 matrix product, the best of a few."""
    size = 2048
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(_seconds(lambda: a @ b) for _ in range(repetitions))


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Ours:
    """The project's step: noise, bookkeeping on the CPU, forward, backward."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.module = work.module

    def prepared(self, number: int, rounds: int) -> Callable[[], float]:
        batch = self.work.batch(number, rounds)
        draws = self.work.draws(batch)

        def step() -> float:
            _, micro = self.module.noise([batch], draws, 0.0)
            total, _ = self.module(micro, self.module.counts(micro), 0.5)
            total.backward()
            return float(total.detach())

        return step


class Reference:
    """The textbook step on the same weights; it gets its noised batch for nothing."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.module = work.module
        for denoiser in (self.module.student, self.module.teachers[0]):
            denoiser.module.set_attn_implementation("sdpa")

    def prepared(self, number: int, rounds: int) -> Callable[[], float]:
        batch = self.work.batch(number, rounds)
        noise, micro = self.module.noise([batch], self.work.draws(batch), 0.0)
        parts = examples(batch, noise, self.work.shape.length)
        student, teacher = self.module.student.module, self.module.teachers[0].module

        def step() -> float:
            total = 0.0
            for studied, taught in parts:
                loss = reference_loss(
                    student,
                    teacher,
                    studied,
                    taught,
                    {**micro.counts, "chunks": micro.count("chunks", 0)},
                    block=BLOCK,
                    chunks=batch.chunks,
                )
                loss.backward()
                total += float(loss.detach())
            return total

        return step


class Worker:
    """Runs rounds of one variant and measures them."""

    def __init__(self, variant: str, work: Work) -> None:
        self.work = work
        self.variant = (Ours if variant == "ours" else Reference)(work)
        self.parameters = [p for p in work.module.parameters() if p.requires_grad]
        self.gradient_bytes = sum(p.numel() * p.element_size() for p in self.parameters)
        self.meter = ResidentMeter()

    def round(self, number: int, rounds: int) -> dict[str, Any]:
        """Time one step between two measurements of the machine's matrix rate."""
        self._forget_gradients()
        step = self.variant.prepared(number, rounds)
        rates = [matrix_rate()]
        self.meter.begin()
        start = time.perf_counter()
        loss = step()
        seconds = time.perf_counter() - start
        peak = (self.meter.peak() or 0) - self.gradient_bytes
        rates.append(matrix_rate())
        self._rest()
        return {"seconds": seconds, "loss": loss, "peak": peak, "rate": statistics.mean(rates)}

    def inspect(self, number: int, rounds: int) -> dict[str, Any]:
        """Count one step's operations; norm and a sample of its gradient; what it trains on. Serves as the warm-up."""
        self._forget_gradients()
        step = self.variant.prepared(number, rounds)
        with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
            loss = step()
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = float(torch.stack([g.norm() for g in gradients]).double().norm())
        del gradients, step
        self._rest()
        return {
            "flops": counter.get_total_flops(),
            "loss": loss,
            "gradient": norm,
            **self._facts(number, rounds),
        }

    def _facts(self, number: int, rounds: int) -> dict[str, Any]:
        batch = self.work.batch(number, rounds)
        _, micro = self.work.module.noise([batch], self.work.draws(batch), 0.0)
        return {
            "gradients": self.gradient_bytes,
            "documents": _documents(batch.student.documents),
            "trained": micro.counts["maskable_tokens"],
            "masked": micro.counts["masked_tokens"],
            "chunks": micro.count("chunks", 0),
            "columns": int(self.work.module.student.head().weight.shape[0]),
        }

    def _rest(self) -> None:
        """Keep only the weights while the other process has its turn."""
        self._forget_gradients()
        self.meter.begin()

    def _forget_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


def _documents(documents: Tensor | None) -> int:
    return 1 if documents is None else len(documents.unique())


def main() -> None:
    shape, variant, cache, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    worker = Worker(variant, Work(SHAPES[shape], Path(cache)))
    serve(lambda do, **what: getattr(worker, do)(**what))


if __name__ == "__main__":
    main()
