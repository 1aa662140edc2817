"""Samplers: how a denoiser writes text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from .component import Component
from .denoiser import Denoiser
from .errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What a sampler wrote: new ids of each row (end-of-turn token and what follows left out), and what that took.

    ``forwards``: forward passes made. ``positions``: positions that went through the model, all rows and passes together;
    what lies in a cache does not go through it again. 0: not counted.
    """

    ids: Sequence[Sequence[int]]
    forwards: int
    positions: int = 0


@dataclass(frozen=True, kw_only=True)
class SamplingStep:
    """What one step did to one row: who follows these can show how the text comes about.

    ``row``: its number among the prompts. ``positions``: places in prompt and answer, counted from 0, that were written;
    ``tokens`` and ``scores`` [same length]: what was written there, and how sure the sampler was, in [0, 1]. A place that is
    written again was revised; a token that is the mask token was taken back. ``forwards``: passes made so far.
    """

    row: int
    positions: Sequence[int]
    tokens: Sequence[int]
    scores: Sequence[float]
    forwards: int


Watch = Callable[[SamplingStep], None]
"""Called after every step, once for each row that changed."""


class Sampler(Component):
    """Kind ``sampler``. Every step commits at least one token; a row's result does not depend on the other rows."""

    kind: ClassVar[str] = "sampler"

    @abstractmethod
    def sample(
        self,
        denoiser: Denoiser,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> Sampled:
        """Continue each prompt (ids) by at most ``max_new_tokens`` tokens; tell ``watch`` of every step."""
        raise NotImplementedError

    def infill(
        self, denoiser: Denoiser, texts: Sequence[Sequence[int]], *, seed: int = 0, watch: Watch | None = None
    ) -> Sampled:
        """Replace the mask tokens of texts (ids), keeping all others; ``ids`` of the result are the whole texts.

        Optional. The default raises ``ConfigError``.
        """
        raise ConfigError(
            f"sampler {self.name!r} continues texts and cannot fill in gaps; samplers 'block' and 'window' can, with a model "
            "that has a mask token"
        )
