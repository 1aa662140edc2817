"""Corruptions: how clean tokens become noised ones, on both sides together."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from .batch import Batch, Draws, Noise
from .component import Component
from .schedule import NoiseSchedule

if TYPE_CHECKING:
    from torch import Tensor

    from .text import TextTokenizer


class Corruption(Component):
    """Kind ``corruption``. Student and teacher are noised together: a chunk is hidden whole, on both sides, or not at all."""

    kind: ClassVar[str] = "corruption"

    @abstractmethod
    def corrupt(
        self,
        batch: Batch,
        t: Tensor,
        schedule: NoiseSchedule,
        draws: Draws,
        student: TextTokenizer,
        teacher: TextTokenizer | None,
    ) -> Noise:
        """Noise a batch. t [B, L] float32: the time of each student token.

        Use ``draws`` for every random number, so that the noise of a sample does not depend on its batch. A side whose
        tokenizer has no mask token (an autoregressive teacher) keeps its clean tokens; its ``masked`` says which of
        them count.
        """
        raise NotImplementedError

    def needs_mask_token(self) -> bool:
        """Whether the student needs a mask token."""
        return True
