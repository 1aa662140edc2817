"""Which student column each teacher token stands for.

Shapes: V_S and V_T ids of student and teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tide_specs import AlignmentError, TextTokenizer

Match = Literal["exact", "first_token"]
Pieces = list[bytes | None]


@dataclass(frozen=True)
class VocabularyMap:
    """An image for every teacher token.

    column [V_T] int64: student column, -1 where there is none. exact [V_T] bool: whether both spell the same bytes.
    text [V_S] bool: student ids that spell something (special, unused and end-of-turn ids do not).
    """

    column: NDArray[np.int64]
    exact: NDArray[np.bool_]
    text: NDArray[np.bool_]


def spelled(tokenizer: TextTokenizer) -> Pieces:
    """Return the bytes of every id that may be matched by bytes; ``None`` for the others.

    Roles are not matched by bytes, even where a tokenizer spells them: end of turn, mask. Nor is the empty piece.
    """
    pieces = [piece or None for piece in tokenizer.token_bytes()]
    for index in (tokenizer.end_of_turn_token_id, tokenizer.mask_token_id):
        if index is not None and index < len(pieces):
            pieces[index] = None
    return pieces


def ids_by_bytes(pieces: Pieces) -> dict[bytes, int]:
    """Return bytes -> id, the lowest one where several ids spell the same."""
    found: dict[bytes, int] = {}
    for index, piece in enumerate(pieces):
        if piece is not None:
            found.setdefault(piece, index)
    return found


def match_bytes(student: TextTokenizer, teacher: TextTokenizer, match: Match) -> VocabularyMap:
    """Match by equal bytes; with ``first_token`` the rest by the longest student token that a teacher token begins with.

    Ends of turn are matched by role; no other special token has an image. Raises ``AlignmentError`` when no token of
    text has one.
    """
    ours, theirs = spelled(student), spelled(teacher)
    known = ids_by_bytes(ours)
    longest = max(map(len, known), default=0) if match == "first_token" else 0
    column, exact = np.full(len(theirs), -1, dtype=np.int64), np.zeros(len(theirs), dtype=np.bool_)
    for index, piece in enumerate(theirs):
        if piece is None:
            continue
        same = known.get(piece)
        column[index] = _first(piece, known, longest) if same is None else same
        exact[index] = same is not None
    require_overlap(column)
    return finished(column, exact, ours, student, teacher)


def _first(piece: bytes, known: dict[bytes, int], longest: int) -> int:
    """Id of the longest known beginning of a piece that is shorter than it, -1 without one."""
    for size in range(min(len(piece) - 1, longest), 0, -1):
        found = known.get(piece[:size])
        if found is not None:
            return found
    return -1


def require_overlap(column: NDArray[np.int64]) -> None:
    """Raise ``AlignmentError`` when no teacher token has an image."""
    if not bool((column >= 0).any()):
        raise AlignmentError(
            "no token of the teacher's vocabulary spells what a token of the student's spells, so no probability can be "
            "projected; use alignment 'ranked', which compares sorted probabilities, or 'byte_chunks' with a loss on chunks"
        )


def finished(
    column: NDArray[np.int64], exact: NDArray[np.bool_], ours: Pieces, student: TextTokenizer, teacher: TextTokenizer
) -> VocabularyMap:
    """Add the end of turn, matched by role, to what was matched by bytes."""
    if teacher.end_of_turn_token_id < len(column):
        column[teacher.end_of_turn_token_id] = student.end_of_turn_token_id
        exact[teacher.end_of_turn_token_id] = True
    text = np.fromiter((piece is not None for piece in ours), dtype=np.bool_, count=len(ours))
    return VocabularyMap(column, exact, text)
