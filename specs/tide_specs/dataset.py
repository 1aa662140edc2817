"""Datasets: where examples come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from .component import Component
from .text import Example

Split = Literal["train", "evaluation"]


class Dataset(Component):
    """Kind ``dataset``. Tokenisation, alignment, caching and packing are the core's business."""

    kind: ClassVar[str] = "dataset"

    max_length: PositiveInt = Field(default=512, description="longest student sequence, in tokens; longer ones are cut")
    teacher_max_length: PositiveInt | None = Field(
        default=None, description="longest teacher sequence, in tokens; default: twice max_length"
    )
    packing: bool = Field(default=False, description="put several short examples into one row")

    @abstractmethod
    def examples(self, split: Split) -> Iterator[Example]:
        """Yield the examples of a split in a fixed order.

        The splits share no example. Raises ``DataError`` naming file and line of what cannot be read.
        """
        raise NotImplementedError

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash that changes when the examples change; the cache of encoded examples is keyed by it."""
        raise NotImplementedError
