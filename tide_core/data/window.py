"""From encoded examples to the token rows that training sees: windows, chunks, fill.

Many examples at once, as flat arrays: N tokens of all examples together, E examples, C chunks. No loop over tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tide_specs import AlignedPair, EncodedExample, PluginError, TokenKind

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

OUTSIDE = -1
"""Chunk number of a token that belongs to no chunk."""


@dataclass(frozen=True, kw_only=True)
class FlatSide:
    """One side of E examples. ids, chunk [N] int32; trainable, fill [N] bool; lengths [E] tokens of each example."""

    ids: NDArray[np.int32]
    trainable: Bools
    fill: Bools
    chunk: NDArray[np.int32]
    lengths: Ints

    @property
    def owner(self) -> Ints:
        """[N] the example that each token belongs to."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def position(self) -> Ints:
        """[N] place of each token in its example."""
        return positions_of(self.lengths)

    def first_trainable(self) -> Ints:
        """[E] position of the first trainable token; the example's length where there is none."""
        first = self.lengths.copy()
        np.minimum.at(first, self.owner[self.trainable], self.position[self.trainable])
        return first

    def select(self, tokens: Bools) -> FlatSide:
        """Keep the tokens [N] that are true; examples stay, with fewer tokens."""
        return FlatSide(
            ids=self.ids[tokens],
            trainable=self.trainable[tokens],
            fill=self.fill[tokens],
            chunk=self.chunk[tokens],
            lengths=np.bincount(self.owner[tokens], minlength=len(self.lengths)),
        )

    def without_empty(self, kept: Bools) -> FlatSide:
        """Keep the examples [E] that are true, and drop the others with all their tokens."""
        chosen = self.select(kept[self.owner])
        return FlatSide(
            ids=chosen.ids,
            trainable=chosen.trainable,
            fill=chosen.fill,
            chunk=chosen.chunk,
            lengths=chosen.lengths[kept],
        )


def positions_of(lengths: Ints) -> Ints:
    """Lengths [E] -> [N] 0..length-1 for each example in turn."""
    starts = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) - np.repeat(starts, lengths)


def flatten(encoded: Sequence[EncodedExample], chunks: Sequence[NDArray[np.int32]] | None, offsets: Ints) -> FlatSide:
    """Join encoded examples; ``chunks`` per example are numbered from ``offsets`` [E] on.

    Raises ``PluginError`` when a tokenizer's or alignment's arrays do not fit each other.
    """
    lengths = np.array([len(one.ids) for one in encoded], dtype=np.int64)
    ids = _join([one.ids for one in encoded], np.int32)
    kind = _join([one.kind for one in encoded], np.int8)
    trainable = _join([one.trainable for one in encoded], np.bool_)
    chunk = np.full(len(ids), OUTSIDE, dtype=np.int32) if chunks is None else _join(chunks, np.int32)
    if not len(ids) == len(kind) == len(trainable) == len(chunk):
        raise PluginError("the tokenizer and the alignment disagree about how many tokens an example has")
    if chunks is not None:
        chunk = np.where(chunk >= 0, chunk + np.repeat(offsets, lengths), OUTSIDE).astype(np.int32)
    return FlatSide(ids=ids, trainable=trainable, fill=kind == TokenKind.FILL, chunk=chunk, lengths=lengths)


def chunk_offsets(pairs: Sequence[AlignedPair]) -> Ints:
    """[E] number of the first chunk of each example, counted over all of them."""
    counts = np.array([len(pair.bytes) for pair in pairs], dtype=np.int64)
    return np.cumsum(counts) - counts


def surviving_chunks(sides: Sequence[tuple[FlatSide, Bools]], count: int) -> Bools:
    """[C] whether every token of a chunk, on every side, is inside the window and trainable.

    ``sides`` pairs a side with its tokens [N] inside the window.
    """
    alive = np.ones(count, dtype=np.bool_)
    for side, inside in sides:
        member = side.chunk >= 0
        total = np.bincount(side.chunk[member], minlength=count)
        good = np.bincount(side.chunk[member & inside & side.trainable], minlength=count)
        alive &= (total == good) & (total > 0)
    return alive


def renumber(side: FlatSide, alive: Bools, offsets: Ints) -> FlatSide:
    """Number the chunks that are left from 0 in each example; tokens of the others belong to no chunk.

    ``offsets`` [E]: the example's first chunk in the old count.
    """
    counted = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(alive)])  # chunks alive before each one
    start = np.repeat(counted[offsets], side.lengths)
    inside = side.chunk >= 0
    old = np.where(inside, side.chunk, 0)
    if len(alive) == 0:
        return side
    chunk = np.where(inside & alive[old], counted[old] - start, OUTSIDE).astype(np.int32)
    return FlatSide(ids=side.ids, trainable=side.trainable, fill=side.fill, chunk=chunk, lengths=side.lengths)


def fill_blocks(side: FlatSide, multiple: int, token: int) -> FlatSide:
    """Fill every example with trainable end-of-turn tokens up to a multiple of the block (block diffusion)."""
    lengths = -(-side.lengths // multiple) * multiple
    if multiple == 1 or bool((lengths == side.lengths).all()):
        return side
    given = positions_of(lengths) < np.repeat(side.lengths, lengths)

    def spread(values: NDArray[Any], filler: int) -> NDArray[Any]:
        out = np.full(len(given), filler, dtype=values.dtype)
        out[given] = values
        return out

    return FlatSide(
        ids=spread(side.ids, token),
        trainable=spread(side.trainable, 1),
        fill=spread(side.fill, 1),
        chunk=spread(side.chunk, OUTSIDE),
        lengths=lengths,
    )


def _join(arrays: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    if not arrays:
        return np.zeros(0, dtype=dtype)
    return np.concatenate(arrays).astype(dtype, copy=False)
