"""The tensors that travel through one training step.

Shapes: B rows, L tokens of a side (padded), C chunks of the batch. Student and teacher have their own L.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Moved = TypeVar("Moved", bound="TensorRecord")


@dataclass(frozen=True, kw_only=True)
class TensorRecord:
    """A frozen record of tensors that moves between devices as one."""

    def to(self: Moved, device: torch.device | str) -> Moved:
        """Return a copy whose tensors (nested records included) live on ``device``."""
        moved: dict[str, Any] = {}
        for f in fields(self):
            value: Any = getattr(self, f.name)
            if hasattr(value, "to"):
                moved[f.name] = value.to(device)
        return replace(self, **moved)


@dataclass(frozen=True, kw_only=True)
class Side(TensorRecord):
    """One side (student or teacher) of a batch.

    ids [B, L] int64 clean tokens, padded with the padding id;
    maskable [B, L] bool: response tokens that training may hide (never prompt, template markup or padding);
    lengths [B] int64: valid tokens of each row; validity is ``position < length``, never ``id != pad_id``;
    chunk [B, L] int64: chunk of the batch, 0..C-1, that a token belongs to; -1 outside. A chunk listed here counts:
    all its tokens, on both sides, are present and maskable;
    documents [B, L] int64 when rows are packed, otherwise ``None``. Documents start at multiples of the block size.
    """

    ids: Tensor
    maskable: Tensor
    lengths: Tensor
    chunk: Tensor
    documents: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Batch(TensorRecord):
    """One micro-batch of training or evaluation.

    ``teacher`` is ``None`` in a run without a teacher. ``chunk_bytes`` [C] int64: UTF-8 bytes that a chunk spans (0 for
    an end-of-turn chunk). ``chunk_relation`` [C] int64: a ``ChunkRelation``. ``samples``: stable identity of each row,
    from which its noise is seeded. ``positions`` [B]: place of each row in its effective (accumulated, whole-world)
    batch, for stratified timesteps.
    """

    student: Side
    teacher: Side | None = None
    chunk_bytes: Tensor
    chunk_relation: Tensor
    samples: Tensor
    positions: Tensor
    effective_size: int = 1

    @property
    def chunks(self) -> int:
        """C, the number of chunks of the batch."""
        return int(self.chunk_bytes.shape[0])


@dataclass(frozen=True, kw_only=True)
class NoisedSide(TensorRecord):
    """The noised tokens of one side.

    noised [B, L] int64; masked [B, L] bool: the positions that the model must predict (a subset of ``maskable``);
    weight [B, L] float32: the schedule's weight w at each position, already corrected for whole-chunk masking where the
    corruption does so; zero outside ``masked``.
    """

    noised: Tensor
    masked: Tensor
    weight: Tensor


@dataclass(frozen=True, kw_only=True)
class Noise(TensorRecord):
    """What a corruption returns: t [B, L] float32 per student token, and both noised sides."""

    t: Tensor
    student: NoisedSide
    teacher: NoisedSide | None = None


@dataclass(frozen=True, kw_only=True)
class TeacherPass(TensorRecord):
    """One pass of the teacher: where its input is masked, and where its answer counts. Both [B, L] bool."""

    masked: Tensor
    counts: Tensor


class Draws(Protocol):
    """Random numbers that depend only on (seed, epoch, sample, purpose): never on batch, process or device."""

    def uniform(self, purpose: str, length: int) -> Tensor:
        """Return [B, length] float64 numbers in [0, 1); row b depends on sample b alone.

        Row b of a longer draw for the same purpose starts with the same numbers, so padding changes nothing.
        """
        ...
