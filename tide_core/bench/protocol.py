"""What is measured, and what came out: plain records that travel between processes as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The same for every model. ``caches``: with the key/value cache, without it, or both, in this order."""

    prompts: Sequence[str]
    chat: bool
    batch_sizes: Sequence[int]
    new_tokens: Sequence[int]
    caches: Sequence[bool]
    warmups: int
    repetitions: int
    seed: int
    device: str
    dtype: str
    attention: str
    trust_remote_code: bool = False

    def batch(self, size: int) -> list[str]:
        """Return the prompts of a batch: the first ones, and from the start again where there are not enough."""
        return [self.prompts[row % len(self.prompts)] for row in range(size)]

    def cells(self, caches: Sequence[bool | None]) -> list[Cell]:
        """Return every combination to measure."""
        return [
            Cell(batch_size=size, new_tokens=count, cache=cache)
            for size, count, cache in product(self.batch_sizes, self.new_tokens, caches)
        ]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination. ``cache``: ``None`` where the sampler has no such option."""

    batch_size: int
    new_tokens: int
    cache: bool | None

    def __str__(self) -> str:
        """Words for a progress line."""
        return f"batch {self.batch_size}, {self.new_tokens} tokens, {CACHE_WORDS[self.cache]}"


CACHE_WORDS = {True: "cached", False: "uncached", None: "-"}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One model: what it is called in the results, and the components that load it and write with it, as plain data."""

    label: str
    path: str
    form: str
    architecture: Mapping[str, Any]
    sampler: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a measuring process is told."""

    protocol: Protocol
    contender: Contender
    plugins: Sequence[str]

    def as_record(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Job:
        """Return the job that plain data describes."""
        return cls(
            protocol=Protocol(**record["protocol"]),
            contender=Contender(**record["contender"]),
            plugins=record["plugins"],
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one model cost in one cell; numbers are of one generation, all rows of the batch together.

    ``seconds``: median; ``seconds_low``, ``seconds_high``: quartiles. ``prompt_tokens``, ``tokens``: read and written.
    ``forwards``: forward passes; ``positions``: positions that went through the model in them; ``flops``: floating-point
    operations. ``weights_bytes``: what the model holds; ``working_bytes``: the most that a generation took above what the
    process held right before it. ``None``: not known here.
    """

    checkpoint: str
    form: str
    sampler: str
    batch_size: int
    new_tokens: int
    cache: bool | None
    prompt_tokens: int
    tokens: int
    seconds: float
    seconds_low: float
    seconds_high: float
    forwards: int
    positions: int | None
    flops: float | None
    weights_bytes: int
    working_bytes: int | None

    @property
    def tokens_per_second(self) -> float:
        """Written tokens of all rows, over the median of the seconds."""
        return self.tokens / self.seconds

    @property
    def tokens_per_forward(self) -> float:
        """Written tokens of all rows, over forward passes."""
        return self.tokens / self.forwards if self.forwards else 0.0

    @property
    def positions_per_token(self) -> float | None:
        """Positions through the model for each token written."""
        return None if self.positions is None or not self.tokens else self.positions / self.tokens

    @property
    def flops_per_token(self) -> float | None:
        """Floating-point operations for each token written."""
        return None if self.flops is None or not self.tokens else self.flops / self.tokens

    @property
    def bytes(self) -> int | None:
        """Weights and working memory."""
        return None if self.working_bytes is None else self.weights_bytes + self.working_bytes


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a measuring process says of its model once it is loaded. ``facts``: the denoiser's; ``machine``: where it ran."""

    label: str
    weights_bytes: int
    facts: Mapping[str, Any]
    machine: Mapping[str, Any]
