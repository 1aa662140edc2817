"""Random numbers that depend on (seed, epoch, sample, purpose) and on nothing else.

One process, two processes and any accumulation therefore see the same noise, and a resumed run sees it again.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SampleDraws:
    """Implements ``tide_specs.Draws`` with one counter-based generator per row.

    ``samples`` [B] identify the rows; ``epoch`` is one number or one per row [B] (a batch may straddle two epochs).
    """

    seed: int
    epoch: int | Tensor
    samples: Tensor
    device: torch.device | str = "cpu"

    def uniform(self, purpose: str, length: int) -> Tensor:
        """[B, length] float64 in [0, 1); row b is a prefix of an endless sequence that belongs to its sample."""
        tag = zlib.crc32(purpose.encode())
        epochs = torch.as_tensor(self.epoch).expand(self.samples.shape)
        pairs = zip(epochs.tolist(), self.samples.tolist(), strict=True)
        rows = [self._row(epoch, sample, tag, length) for epoch, sample in pairs]
        drawn = np.stack(rows) if rows else np.zeros((0, length))
        return torch.from_numpy(drawn).to(self.device)

    def _row(self, epoch: int, sample: int, tag: int, length: int) -> np.ndarray:
        # Philox is keyed, not seeded: no state to carry, and neighbouring samples are independent by construction.
        key = np.array([(self.seed << 32) ^ tag, (epoch << 40) ^ sample], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).random(length)
