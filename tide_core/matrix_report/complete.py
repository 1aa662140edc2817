"""Which objectives and settings a complete table is made of, where some numbers are missing."""

from __future__ import annotations

from collections.abc import Sequence, Set

from .readings import Setting, natural

Pair = tuple[str, Setting]


def complete(
    objectives: Sequence[str], settings: Sequence[Setting], absent: Set[Pair], baseline: str
) -> tuple[list[str], list[Setting]]:
    """Return objectives and settings among which no pair is ``absent``, in the order given.

    Whatever lacks the largest share goes first, an objective before a setting that lacks as much, so that what works in
    some settings only does not cost those in which it does not. The baseline stays.
    """
    kept, left = list(objectives), list(settings)
    while any((objective, setting) in absent for objective in kept for setting in left):
        rows = [
            (sum((one, setting) in absent for setting in left) / len(left), natural(one), one)
            for one in kept
            if one != baseline
        ]
        columns = [
            (
                sum((objective, one) in absent for objective in kept) / len(kept),
                [natural(label) for _, label in one],
                one,
            )
            for one in left
        ]
        row, column = max(rows, default=None), max(columns)
        if row is not None and row[0] >= column[0]:
            kept.remove(row[2])
        else:
            left.remove(column[2])
    return kept, left
