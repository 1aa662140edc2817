"""Random numbers of a row: the same in whatever batch the row is decoded.

Shapes: B rows, n positions or numbers, C columns.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor


def row_generators(prompts: Sequence[Sequence[int]], seed: int, device: torch.device) -> list[torch.Generator]:
    """Return a generator per row, seeded by ``seed``, the prompt, and which copy of that prompt it is."""
    copies: Counter[tuple[int, ...]] = Counter()
    generators: list[torch.Generator] = []
    for prompt in map(tuple, prompts):
        identity = repr((seed, copies[prompt], prompt)).encode()
        copies[prompt] += 1
        number = int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "little") >> 1
        generators.append(torch.Generator(device=device).manual_seed(number))
    return generators


class RowRandomness:
    """The generators of all rows. What a row draws depends on its own draws before, and on nothing else."""

    def __init__(self, prompts: Sequence[Sequence[int]], seed: int, device: torch.device) -> None:
        self.device = device
        self.generators = row_generators(prompts, seed, device)

    def uniform(self, row: int, count: int) -> Tensor:
        """Return numbers [n] in [0, 1) of one row, float64."""
        return torch.rand(count, dtype=torch.float64, device=self.device, generator=self.generators[row])

    def uniforms(self, rows: Sequence[int], count: int) -> Tensor:
        """Return numbers [B, n] in [0, 1) of some rows, float64."""
        return torch.stack([self.uniform(row, count) for row in rows])


def draw_tokens(logits: Tensor, temperature: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Logits [n, C], a generator per position -> drawn columns [n]; the likeliest at temperature 0.

    Adds Gumbel noise in float64: in float32 the noise's tail is too coarse for unlikely tokens.
    """
    if temperature == 0.0:
        return logits.argmax(dim=-1)
    exponential = torch.empty(logits.shape, dtype=torch.float64, device=logits.device)
    for position, generator in zip(exponential, generators, strict=True):
        # One call per position: how positions are sliced or batched then cannot change what a row draws.
        position.exponential_(generator=generator)
    return (logits.double() / temperature - exponential.log()).argmax(dim=-1)
