"""The moving average of the student's weights, which is saved and evaluated in their place (``training.ema_decay``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

WARM_UP = 10
"""With n updates done the decay is at most (1 + n) / (10 + n), so that the first weights are soon forgotten."""


class Average:
    """An exponential moving average, in float32, of the parameters that are trained; sharded where they are."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._means = [p.detach().float().clone() for p in self._parameters.values()]

    @property
    def names(self) -> list[str]:
        """Names of the averaged parameters."""
        return list(self._parameters)

    @torch.no_grad()
    def update(self, done: int) -> None:
        """Move towards the weights after ``done`` optimizer steps (1, 2, ...)."""
        share = 1 - min(self._decay, (1 + done) / (WARM_UP + done))
        for mean, parameter in zip(self._means, self._parameters.values(), strict=True):
            mean.lerp_(parameter.to(mean.dtype), share)

    @torch.no_grad()
    def start(self) -> None:
        """Begin anew from the weights as they are."""
        for mean, parameter in zip(self._means, self._parameters.values(), strict=True):
            mean.copy_(parameter)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the average stand where the weights are, and give them back, to the last bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for mean, parameter in zip(self._means, self._parameters.values(), strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(kept)


def as_weights(averages: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Averages by the names that a checkpoint has for the weights which they stand for."""
    return {f"weight/{name.removeprefix('average/')}": tensor for name, tensor in averages.items()}
