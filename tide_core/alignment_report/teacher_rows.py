"""The texts as a teacher reads them: rows of bounded length that together ask for every chunk once.

Shapes: N content tokens of the teacher and C chunks of all texts (see ``tables``); L tokens of a row, n of them asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tide_specs import EncodedExample, TextTokenizer, TokenKind

from .tables import Ints, Tables
from .texts import Document, batches

OVERLAP = 4
"""A row that goes on with a text repeats at most length / OVERLAP tokens, which it is not asked about, as context."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a teacher reads. length: most tokens of a row; hidden [C]: chunks that it does not see, ``None``: causal."""

    length: int
    hidden: NDArray[np.bool_] | None
    mask_token_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """ids, noised [L]; place, chunk [n]: where in the row the tokens that are asked for stand, and their chunk."""

    ids: Ints
    noised: Ints
    place: Ints
    chunk: Ints


def asked_chunks(tables: Tables, hidden: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Which chunks are asked for [C]: those that neither side lost and, of a teacher that denoises, that are hidden."""
    kept = ~tables.chunks.excluded
    return kept if hidden is None else kept & hidden


def teacher_rows(
    documents: Sequence[Document], teacher: TextTokenizer, tables: Tables, reading: Reading
) -> Iterator[Row]:
    """Encode the documents again and cut them into rows; a chunk that fits into no row is left out."""
    asked = np.append(asked_chunks(tables, reading.hidden), False)  # the extra last entry answers chunk -1
    hidden = np.append(np.zeros(len(asked) - 1, np.bool_) if reading.hidden is None else reading.hidden, False)
    number = 0
    for group in batches(documents):
        for encoded in teacher.encode([document.example for document in group]):
            at = np.flatnonzero((encoded.kind == TokenKind.CONTENT) & (encoded.message >= 0))
            chunk = np.full(len(encoded.ids), -1, np.int64)
            chunk[at] = tables.teacher.chunk[number : number + len(at)]
            number += len(at)
            yield from _rows(encoded, chunk, asked, hidden, reading)


def _rows(encoded: EncodedExample, chunk: Ints, asked: Any, hidden: Any, reading: Reading) -> Iterator[Row]:
    ids = encoded.ids.astype(np.int64)
    noised = ids if reading.mask_token_id is None else np.where(hidden[chunk], reading.mask_token_id, ids)
    at = np.flatnonzero(asked[chunk])
    for start, stop, tokens in _windows(at, chunk[at], len(ids), reading.length):
        # Every row begins as the text does, since models expect their first token (BOS) there.
        inside = np.concatenate(([0], np.arange(start, stop)))
        yield Row(ids=ids[inside], noised=noised[inside], place=tokens - start + 1, chunk=chunk[tokens])


def _windows(at: Ints, chunk: Ints, size: int, length: int) -> Iterator[tuple[int, int, Ints]]:
    """Cut a text of ``size`` tokens: start and stop of a row without its first token, and the tokens asked for in it.

    ``at``, ``chunk`` [n]: the tokens asked for and their chunks, in text order. No chunk is cut.
    """
    first = np.flatnonzero(np.diff(chunk, prepend=-1))
    begin, end = at[first], at[np.append(first[1:], len(at)) - 1] + 1
    bounds = np.append(first, len(at))
    room, done = length - 1, 0
    while done < len(begin):
        start = 1 if begin[done] < length - length // OVERLAP else int(begin[done]) - length // OVERLAP
        if end[done] > start + room:
            start = int(end[done]) - room
        if start > begin[done]:  # the chunk alone is longer than a row
            done += 1
            continue
        stop = min(start + room, size)
        last = int(np.searchsorted(end, stop, side="right"))
        yield start, stop, at[bounds[done] : bounds[last]]
        done = last
