"""Layouts as independent sequences: groups of queries, each with exactly the keys that it sees, as index lists.

Shapes: B rows, Q query positions, K key positions, n gathered queries, m gathered keys.
Indices count positions of all rows one after another: row * Q + query, row * K + key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tide_specs import AttentionLayout, BlockCausal, BlockDiffusion, Cached, Causal, Full

Indices = NDArray[np.int64]
Sequence = tuple[Indices, Indices]


@dataclass(frozen=True)
class Sequences:
    """Gathered queries [n] and keys [m] of all sequences, side by side, and how many of each belong to a sequence.

    ``causal``: inside a sequence, the last query sees all keys, the one before all but the last, and so on.
    Queries beyond a row's length belong to no sequence.
    """

    queries: Indices
    keys: Indices
    query_counts: tuple[int, ...]
    key_counts: tuple[int, ...]
    causal: bool


def sequences(layout: AttentionLayout) -> Sequences | None:
    """Return the sequences of a layout, or ``None`` for one that this module does not know. Reads row tensors once."""
    if type(layout) not in (Full, Causal, BlockCausal, BlockDiffusion, Cached):
        return None
    tensors: dict[str, Any] = dict(layout.tensors())
    rows = {name: np.asarray(tensor.tolist()) for name, tensor in tensors.items()}
    count = len(next(iter(rows.values()))) if rows else 1
    found: list[Sequence] = []
    for row in range(count):
        shift = (row * layout.query_length, row * layout.key_length)
        own = {name: values[row] for name, values in rows.items()}
        found += [(query + shift[0], key + shift[1]) for query, key in _of_row(layout, own)]
    if not found:
        return None
    return Sequences(
        queries=np.concatenate([query for query, _ in found]),
        keys=np.concatenate([key for _, key in found]),
        query_counts=tuple(len(query) for query, _ in found),
        key_counts=tuple(len(key) for _, key in found),
        causal=isinstance(layout, Causal) or bool(getattr(layout, "causal", False)),
    )


def _of_row(layout: AttentionLayout, row: dict[str, Any]) -> Iterator[Sequence]:
    tokens = np.arange(int(row.get("lengths", layout.length)))
    if isinstance(layout, Cached):
        yield from _behind_cache(layout, tokens, int(row.get("cached_lengths", layout.cached)))
        return
    documents = row.get("documents")
    for document in [tokens] if documents is None else _groups(tokens, documents[: len(tokens)]):
        if isinstance(layout, BlockDiffusion):
            yield from _streams(layout, document)
        elif isinstance(layout, BlockCausal):
            yield from _blocks(document, document // layout.block, own=0, earlier=0)
        elif len(document):
            yield document, document


def _groups(values: Indices, labels: Indices) -> list[Indices]:
    return [values[labels == label] for label in np.unique(labels)]


def _blocks(tokens: Indices, block: Indices, *, own: int, earlier: int) -> Iterator[Sequence]:
    """One sequence per block: its own tokens at ``own``, with the tokens of earlier blocks at ``earlier`` as keys."""
    for number in np.unique(block):
        inside = tokens[block == number] + own
        yield inside, np.concatenate([tokens[block < number] + earlier, inside])


def _streams(layout: BlockDiffusion, tokens: Indices) -> Iterator[Sequence]:
    clean = layout.start_of(0)
    for stream in range(layout.streams + 1):
        yield from _blocks(tokens, tokens // layout.block, own=layout.start_of(stream), earlier=clean)


def _behind_cache(layout: Cached, new: Indices, filled: int) -> Iterator[Sequence]:
    """Queries count from 0, keys from the first cached slot; blocks count tokens of the text."""
    slots, keys = np.arange(filled), new + layout.cached
    block = np.zeros_like(new) if layout.block is None or layout.causal else (new + filled) // layout.block
    for number in np.unique(block):
        yield new[block == number], np.concatenate([slots, keys[block <= number]])
