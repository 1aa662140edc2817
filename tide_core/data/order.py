"""Which rows an optimizer step reads: a function of (seed, step) alone.

Processes and micro-batches share out the effective batch of a step, so it holds the same rows in the same order however
many of them there are, and a resumed run goes on from its step without replaying anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tide_specs import ConfigError

Ints = NDArray[np.int64]


def epoch_order(size: int, *, seed: int, epoch: int) -> Ints:
    """[size] the order in which an epoch reads the rows: a permutation that depends on (seed, epoch) alone."""
    # Raw Philox words are fixed by its definition; ``Generator.permutation`` may change between versions of numpy.
    words = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)).random_raw(size)
    return np.argsort(words, kind="stable").astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class MicroBatchPlan:
    """The rows of one micro-batch on one process; [b] each.

    indices: of the rows; epochs: the epoch in which each is read; positions: place in the effective batch.
    """

    indices: Ints
    epochs: Ints
    positions: Ints


@dataclass(frozen=True)
class BatchPlan:
    """The order of all rows of a run: epoch after epoch without a gap, cut into effective batches.

    A batch may cross the border between two epochs, and a dataset smaller than a batch is read several times in one.
    """

    size: int
    effective_batch_size: int
    seed: int
    _orders: dict[int, Ints] = field(default_factory=lambda: {}, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.size < 1 or self.effective_batch_size < 1:
            raise ValueError(f"size {self.size} and effective_batch_size {self.effective_batch_size} must be positive")

    def samples(self, step: int) -> tuple[Ints, Ints]:
        """Return the row indices [E] of step 0, 1, ... and the epoch [E] in which each is read."""
        places = step * self.effective_batch_size + np.arange(self.effective_batch_size, dtype=np.int64)
        epochs = places // self.size
        indices = np.empty_like(places)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            indices[here] = self._order(epoch)[places[here] % self.size]
        return indices, epochs

    def micro_batch(
        self, step: int, *, process: int = 0, processes: int = 1, micro: int = 0, accumulate: int = 1
    ) -> MicroBatchPlan:
        """Return the share of one process in one of the ``accumulate`` micro-batches of a step.

        Raises ``ConfigError`` when the effective batch cannot be shared out evenly.
        """
        shares = processes * accumulate
        if self.effective_batch_size % shares:
            raise ConfigError(
                f"an effective batch of {self.effective_batch_size} rows cannot be shared out evenly among {processes} "
                f"processes times {accumulate} micro-batches; use a multiple of {shares}"
            )
        each = self.effective_batch_size // shares
        start = (micro * processes + process) * each
        positions = np.arange(start, start + each, dtype=np.int64)
        indices, epochs = self.samples(step)
        return MicroBatchPlan(indices=indices[positions], epochs=epochs[positions], positions=positions)

    def _order(self, epoch: int) -> Ints:
        if epoch not in self._orders:
            for old in [known for known in self._orders if known < epoch - 1]:
                del self._orders[old]  # a long run reads many epochs, two at a time
            self._orders[epoch] = epoch_order(self.size, seed=self.seed, epoch=epoch)
        return self._orders[epoch]
