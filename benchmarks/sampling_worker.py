"""One sampler in a process of its own; ``sampling.py`` starts it and tells it when to run.

Reads commands, one JSON object a line, and answers each with one JSON object.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sampling_reference import sample
from step_worker import matrix_rate
from torch import Tensor
from worker_process import serve

from tide_core.bench.counting import counted
from tide_core.bench.memory import meter_for
from tide_plugins.architectures.huggingface import HuggingFace
from tide_plugins.attention.sdpa import Sdpa
from tide_plugins.samplers.block import BlockSampler
from tide_specs import Denoiser, Runtime

BLOCK, PROMPT, NEW_TOKENS = 32, 500, 256


@dataclass(frozen=True)
class Shape:
    """A Qwen3 of random weights."""

    title: str
    columns: int
    hidden: int = 512
    layers: int = 8
    prompt: int = PROMPT
    new_tokens: int = NEW_TOKENS


SHAPES = {
    "body": Shape("hidden 512, 8 layers, 32,768 columns", 32_768),
    "head": Shape("hidden 512, 8 layers, 151,936 columns", 151_936),
    "tiny": Shape("for trying this program out", 4_096, hidden=64, layers=2, prompt=50, new_tokens=40),
}


def load(shape: Shape) -> Denoiser:
    """Weights that depend on the shape alone, large enough that likeliest tokens are clear."""
    config = {
        "model_type": "qwen3",
        "vocab_size": shape.columns,
        "hidden_size": shape.hidden,
        "intermediate_size": 3 * shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.hidden // 64,
        "num_key_value_heads": max(1, shape.hidden // 128),
        "head_dim": 64,
        "tie_word_embeddings": True,
    }
    component = HuggingFace(
        config=config, tokenizer_from="examples/demo/student-tokenizer", form="block_diffusion", block_size=BLOCK
    )
    denoiser = component.load(
        "teacher", Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Sdpa(), seed=1)
    )
    with torch.no_grad():
        for parameter in denoiser.module.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)
    return denoiser


class Worker:
    """Runs one sampler and measures it."""

    def __init__(self, variant: str, shape: Shape) -> None:
        self.shape, self.variant = shape, variant
        self.denoiser = load(shape)
        self.model: Any = self.denoiser.module
        self.meter = meter_for(torch.device("cpu"))
        if variant == "reference":
            self.model.set_attn_implementation("sdpa")

    def prompts(self, rows: int) -> Tensor:
        """[rows, prompt] random ids; the first two of this tokenizer are end of turn and mask."""
        return torch.randint(2, 2_000, (rows, self.shape.prompt), generator=torch.Generator().manual_seed(7))

    def prepared(self, rows: int, per_step: int) -> Callable[[], list[list[int]]]:
        """Return a call that writes."""
        prompts, count = self.prompts(rows), self.shape.new_tokens
        mask, end = self.denoiser.mask_token_id, self.denoiser.tokenizer.end_of_turn_token_id
        assert mask is not None
        if self.variant == "reference":
            options: dict[str, Any] = {"new_tokens": count, "block": BLOCK, "per_step": per_step, "mask_token": mask}
            return lambda: sample(self.model, prompts, forbidden=[mask, end], **options).tolist()
        sampler = BlockSampler(tokens_per_step=per_step, min_new_tokens=count)
        rows_of_ids = prompts.tolist()
        return lambda: [list(ids) for ids in sampler.sample(self.denoiser, rows_of_ids, max_new_tokens=count).ids]

    def inspect(self, rows: int, per_step: int) -> dict[str, Any]:
        """Count what one run does, and say what it writes. Serves as the warm-up."""
        written, counts = counted(self.model, self.prepared(rows, per_step))
        return {
            "flops": counts.flops,
            "forwards": counts.forwards,
            "positions": counts.positions,
            "tokens": sum(map(len, written)),
            "written": hashlib.sha256(repr(written).encode()).hexdigest(),
            "first": written[0],
        }

    def round(self, rows: int, per_step: int) -> dict[str, Any]:
        """Time one run between two measurements of the machine's matrix rate."""
        run = self.prepared(rows, per_step)
        rates = [matrix_rate()]
        self.meter.begin()
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        peak = self.meter.peak()
        rates.append(matrix_rate())
        return {"seconds": seconds, "peak": peak, "rate": statistics.mean(rates)}


def main() -> None:
    shape, variant, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    worker = Worker(variant, SHAPES[shape])
    serve(lambda do, **what: getattr(worker, do)(**what))


if __name__ == "__main__":
    main()
