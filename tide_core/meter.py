"""Sums that stay on the device until a line of metrics is due. Shapes: K loss terms."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from tide_core.method import Method


class Meter:
    """Collects one vector [K + 2] a step (terms, total, gradient norm) and reads all of an interval at once."""

    def __init__(self, names: list[str], reduce: Callable[[Tensor], Tensor], processes: int) -> None:
        self._names, self._reduce, self._processes = names, reduce, processes
        self._reset()

    def _reset(self) -> None:
        self._vectors: list[Tensor] = []
        self._tokens = 0
        self._masked = 0
        self._begun = time.perf_counter()

    def add(self, terms: Tensor, total: Tensor, gradient_norm: Tensor, tokens: int, masked: int) -> None:
        """Add one step: terms [K] and total of this process, gradient norm of the whole step; no host sync."""
        shared_norm = gradient_norm.detach().float().reshape(1) / self._processes
        self._vectors.append(torch.cat([terms.float(), total.detach().float().reshape(1), shared_norm]))
        self._tokens += tokens
        self._masked += masked

    def __len__(self) -> int:
        return len(self._vectors)

    def first_bad_step(self) -> int | None:
        """Return how many steps ago (0: the oldest of the interval) a value was first not finite; synchronises."""
        if not self._vectors:
            return None
        bad = ~torch.isfinite(self._reduce(torch.stack(self._vectors))).all(1)
        return int(bad.nonzero()[0]) if bool(bad.any()) else None

    def read(self) -> dict[str, float]:
        """Return the interval's means and start the next interval; synchronises once."""
        means = self._reduce(torch.stack(self._vectors)).mean(0).tolist()
        counts = self._reduce(
            torch.tensor([self._tokens, self._masked], dtype=torch.float32, device=self._vectors[0].device)
        )
        seconds = time.perf_counter() - self._begun
        tokens, masked = counts.tolist()
        metrics = {f"loss/{name}": value for name, value in zip(self._names, means, strict=False)}
        metrics["loss"] = means[-2]
        metrics["gradient_norm"] = means[-1]
        metrics["tokens_per_second"] = tokens / seconds
        metrics["masked_fraction"] = masked / max(1.0, tokens)
        self._reset()
        return metrics


def term_names(method: Method) -> list[str]:
    """Return a name for each term, made unique: a second ``calm`` becomes ``calm_2``; one of several teachers precedes it."""
    several = len(method.lessons) > 1
    names = [
        f"teacher_{term.lesson + 1}/{term.loss.name}" if several and term.lesson is not None else term.loss.name
        for term in method.terms
    ]
    seen: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique
