"""Samplers: how a denoiser writes text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .component import Component
from .denoiser import Denoiser


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What a sampler wrote: new ids of each row (end-of-turn token and what follows left out), and forward passes made."""

    ids: Sequence[Sequence[int]]
    forwards: int


class Sampler(Component):
    """Kind ``sampler``. Every step commits at least one token; a row's result does not depend on the other rows."""

    kind: ClassVar[str] = "sampler"

    @abstractmethod
    def sample(
        self, denoiser: Denoiser, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, seed: int = 0
    ) -> Sampled:
        """Continue each prompt (ids) by at most ``max_new_tokens`` tokens."""
        raise NotImplementedError
