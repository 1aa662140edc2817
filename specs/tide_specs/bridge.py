"""Bridges: two distributions over different vocabularies, made comparable where a chunk of text begins.

Shapes: c chunks of one slice, V_S student columns, V_T teacher columns, K outcomes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from .loss import StartContext


class Outcomes(NamedTuple):
    """One event space for both sides: student [c, K] log-probabilities, teacher [c, K] probabilities; each sums to one."""

    student: Tensor
    teacher: Tensor


class VocabularyBridge(ABC):
    """What an alignment knows about two vocabularies; built once per run from both tokenizers, before any model loads."""

    @abstractmethod
    def outcomes(self, student: Tensor, teacher: Tensor, at: StartContext) -> Outcomes:
        """Make the distributions of c chunk starts comparable.

        student [c, V_S]: float32 logits at each chunk's first student token, with gradient. teacher [c, V_T + 1]: float32
        probabilities at its first teacher token; the last column holds the mass of tokens that are not listed (zero
        unless the teacher's answers come from a cache of its most likely tokens). A head may have more columns than its
        tokenizer has ids (padding). Mass must be conserved: what no outcome describes goes to an outcome of its own.
        """
        raise NotImplementedError
