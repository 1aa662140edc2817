"""Which student token is spelt most like each teacher token.

Shapes: U teacher tokens without an equal, m candidates for each, L bytes.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from tide_specs import TextTokenizer

from .vocabulary_map import VocabularyMap, finished, ids_by_bytes, require_overlap, spelled

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

_REACH = 12
"""Candidates on each side of a token's place in a dictionary."""
_BLOCK = 4096
"""Tokens whose distances are worked out together."""
_BITS = 64
"""Bytes of a token that are compared; longer ones are cut."""


def match_spelling(student: TextTokenizer, teacher: TextTokenizer) -> VocabularyMap:
    """Match by equal bytes, the rest by the least edit distance among the nearest in two dictionaries.

    Raises ``AlignmentError`` when either side spells nothing.
    """
    ours, theirs = spelled(student), spelled(teacher)
    known = ids_by_bytes(ours)
    column, exact = np.full(len(theirs), -1, dtype=np.int64), np.zeros(len(theirs), dtype=np.bool_)
    strange: list[tuple[int, int]] = []
    for index, piece in enumerate(theirs):
        if piece is None:
            continue
        column[index] = known.get(piece, -1)
        exact[index] = piece in known
        if piece not in known:
            strange.append((len(piece), index))
    # Tokens of like length together: a block costs as much as its longest.
    order = [index for _, index in sorted(strange)] if known else []
    candidates = Candidates(known)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        column[block] = candidates.nearest([theirs[index] or b"" for index in block])
    require_overlap(column)
    return finished(column, exact, ours, student, teacher)


class Candidates:
    """The student's tokens in two dictionaries, by their bytes and by their bytes read backwards."""

    def __init__(self, known: dict[bytes, int]) -> None:
        self.spellings = sorted(known)
        self.ids = np.array([known[piece] for piece in self.spellings], dtype=np.int64)
        mirrored = sorted((piece[::-1], place) for place, piece in enumerate(self.spellings))
        self.backwards = [piece for piece, _ in mirrored]
        self.order = np.array([place for _, place in mirrored], dtype=np.int64)

    def nearest(self, pieces: list[bytes]) -> Ints:
        """Id of the candidate at the least distance from each piece [U]; the lowest id wins a tie."""
        places = np.concatenate(
            [
                _around(pieces, self.spellings),
                self.order[_around([piece[::-1] for piece in pieces], self.backwards)],
            ],
            1,
        )
        used, inverse = np.unique(places, return_inverse=True)
        # What is cut is too far away to win: it differs by more bytes than the piece has.
        enough = 2 * max(map(len, pieces), default=0) + 1
        others = [self.spellings[place][:enough] for place in used.tolist()]
        distances = edit_distances(pieces, others, inverse.reshape(places.shape))
        found = self.ids[places]
        return found[np.arange(len(pieces)), np.lexsort((found, distances), axis=1)[:, 0]]


def _around(pieces: list[bytes], spellings: list[bytes]) -> Ints:
    """Places in sorted ``spellings`` around where each piece would stand [U, m]."""
    places = np.array([bisect_left(spellings, piece) for piece in pieces], dtype=np.int64)
    return np.clip(places[:, None] + np.arange(-_REACH, _REACH), 0, len(spellings) - 1)


def edit_distances(pieces: list[bytes], others: list[bytes], pairs: Ints) -> Ints:
    """Levenshtein distances [U, m] in bytes between each piece and the ``others`` that ``pairs`` [U, m] picks.

    The columns of the dynamic programme are kept as bits, one word for each pair: where it rises and where it falls
    downwards (Myers 1999, in Hyyro's form for whole strings). Pieces are cut to 64 bytes.
    """
    own, sizes = _matrix([piece[:_BITS] for piece in pieces])
    other, other_sizes = _matrix(others)
    occurs = _occurrences(own)
    score = np.broadcast_to(sizes[:, None], pairs.shape).copy()
    rises, falls = np.full(pairs.shape, ~np.uint64(0)), np.zeros(pairs.shape, dtype=np.uint64)
    one, lowest = np.uint64(1), (sizes - 1).clip(min=0).astype(np.uint64)[:, None]
    lengths, row = other_sizes[pairs], np.arange(len(pieces))[:, None]
    for step in range(other.shape[1]):
        equal = occurs[row, other[pairs, step]]
        same = equal | falls
        diagonal = (((same & rises) + rises) ^ rises) | same
        up, down = falls | ~(rises | diagonal), rises & diagonal
        change = ((up >> lowest) & one).astype(np.int64) - ((down >> lowest) & one).astype(np.int64)
        score += np.where(step < lengths, change, 0)
        shifted = (up << one) | one
        falls, rises = shifted & diagonal, (down << one) | ~(shifted | diagonal)
    return score


def _occurrences(own: Ints) -> Words:
    """[U, 257]: for each byte, at which places of a piece it stands, as bits; nothing for the filler."""
    table = np.zeros((len(own), 257), dtype=np.uint64)
    rows = np.arange(len(own))
    for place in range(own.shape[1]):
        table[rows, own[:, place]] |= np.uint64(1) << np.uint64(place)
    table[:, 256] = 0
    return table


def _matrix(pieces: list[bytes]) -> tuple[Ints, Ints]:
    """Bytes [n, longest], filled up with 256, and sizes [n]."""
    sizes = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
    table = np.full((len(pieces), int(sizes.max(initial=0))), 256, dtype=np.int64)
    table[np.arange(table.shape[1]) < sizes[:, None]] = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    return table, sizes
