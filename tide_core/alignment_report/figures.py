"""The figures of a report, from flat tables.

Shapes: see ``tables``. Text that one of the sides lost (see ``fidelity``) counts in no figure but those that say how much it is:
its chunks, and the tokens and boundaries in them, are left out. Shares are between 0 and 1, and ``None`` where nothing is left
to take a share of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tide_specs import ChunkRelation

from .fidelity import Fidelity
from .tables import ChunkTable, Ints, Tables, TokenTable

RELATIONS = {
    "1:1": ChunkRelation.ONE_TO_ONE,
    "n:1": ChunkRelation.MANY_TO_ONE,
    "1:m": ChunkRelation.ONE_TO_MANY,
    "m:n": ChunkRelation.MANY_TO_MANY,
}
Flags = NDArray[np.bool_]
Pieces = Sequence[bytes | None]


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Whether each id of a side means text [V], and whether the other side has a token of the same bytes [V]."""

    known: Flags
    shared: Flags

    @property
    def share(self) -> float | None:
        """Share of the ids that the other side has too, each counted once."""
        return _share(int((self.known & self.shared).sum()), int(self.known.sum()))


def vocabularies(student: Pieces, teacher: Pieces) -> tuple[Vocabulary, Vocabulary]:
    """Compare two vocabularies by the bytes of their tokens."""
    return _vocabulary(student, teacher), _vocabulary(teacher, student)


def _vocabulary(own: Pieces, other: Pieces) -> Vocabulary:
    there = set(other) - {None}
    known = np.array([piece is not None for piece in own], dtype=np.bool_)
    return Vocabulary(known=known, shared=np.array([piece in there for piece in own], dtype=np.bool_))


def figures(
    tables: Tables, both: tuple[Vocabulary, Vocabulary], masking: float, domain: str | None = None
) -> dict[str, Any]:
    """Return the figures of one domain, or of all, as plain data; see docs/guide/alignment.md for each of them.

    ``masking``: the probability p at which the masking ratio r(p) is taken.
    """
    of_domain = np.array([domain in (None, name) for name in tables.domains], dtype=np.bool_)
    every = of_domain[tables.chunks.message]
    kept = every & ~tables.chunks.excluded
    size = sum(len(text) for text, wanted in zip(tables.raw, of_domain.tolist(), strict=True) if wanted)
    left = size - int(tables.chunks.bytes[every & ~kept].sum())
    sides = {"student": tables.student, "teacher": tables.teacher}
    used = {name: _counted(side, of_domain, kept) for name, side in sides.items()}
    return {
        "bytes": size,
        "messages": int(of_domain.sum()),
        "chunks": int(kept.sum()),
        "tokens": {name: int(of_domain[side.message].sum()) for name, side in sides.items()},
        "round_trip": _round_trip(tables.chunks, every, size),
        "unknown_tokens": {
            name: _unknown(side, of_domain, own.known) for (name, side), own in zip(sides.items(), both, strict=True)
        },
        "boundaries": _boundaries(tables, used),
        "relation_bytes": _relation_bytes(tables.chunks, kept, left),
        "relation_chunks": _relation_chunks(tables.chunks, kept),
        "tokens_per_chunk": {name: _tokens_per_chunk(side, kept) for name, side in sides.items()},
        "bytes_per_chunk": _sizes(tables.chunks.bytes[kept]),
        "first_token": _first_token(tables, kept),
        "masking": {"p": masking, "ratio": masking_ratio(tables.student, used["student"], kept, masking)},
        "vocabulary_overlap": {
            name: _share(int(own.shared[side.ids[used[name]]].sum()), int(used[name].sum()))
            for (name, side), own in zip(sides.items(), both, strict=True)
        },
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _counted(side: TokenTable, of_domain: Flags, kept: Flags) -> Flags:
    """Tokens of the domain outside excluded chunks [N]."""
    return of_domain[side.message] & np.append(kept, True)[side.chunk]


def _round_trip(chunks: ChunkTable, every: Flags, size: int) -> dict[str, Any]:
    """Shares of bytes, per side, by what became of them; ``excluded``: lost on either side."""
    found: dict[str, Any] = {}
    for name, level in (("student", chunks.student_fidelity), ("teacher", chunks.teacher_fidelity)):
        found[name] = {
            one.name.lower(): _share(int(chunks.bytes[every & (level == one)].sum()), size) for one in Fidelity
        }
    found["excluded"] = _share(int(chunks.bytes[every & chunks.excluded].sum()), size)
    return found


def _unknown(side: TokenTable, of_domain: Flags, known: Flags) -> float | None:
    """Share of tokens that mean no text (UNK)."""
    ids = side.ids[of_domain[side.message]]
    return _share(int((~known[ids]).sum()), len(ids))


def _keys(side: TokenTable, used: Flags) -> Ints:
    bounds = used & (side.end >= 0)
    return (side.message[bounds] << 32) | side.end[bounds]


def _boundaries(tables: Tables, used: Mapping[str, Flags]) -> dict[str, float | None]:
    """``student``: share of the student's boundaries that the teacher has too; ``teacher``: the reverse."""
    ours, theirs = _keys(tables.student, used["student"]), _keys(tables.teacher, used["teacher"])
    common = len(np.intersect1d(ours, theirs, assume_unique=True))
    return {
        "student": _share(common, len(ours)),
        "teacher": _share(common, len(theirs)),
        "jaccard": _share(common, len(ours) + len(theirs) - common),
    }


def _relation_bytes(chunks: ChunkTable, kept: Flags, left: int) -> dict[str, float | None]:
    """Shares of the bytes that are not excluded; ``none``: in no chunk."""
    inside = {name: int(chunks.bytes[kept & (chunks.relation == one)].sum()) for name, one in RELATIONS.items()}
    return {name: _share(part, left) for name, part in {**inside, "none": left - sum(inside.values())}.items()}


def _relation_chunks(chunks: ChunkTable, kept: Flags) -> dict[str, float | None]:
    count = int(kept.sum())
    return {name: _share(int((kept & (chunks.relation == one)).sum()), count) for name, one in RELATIONS.items()}


def _tokens_per_chunk(side: TokenTable, kept: Flags) -> float | None:
    return _share(int(side.per_chunk(len(kept))[kept].sum()), int(kept.sum()))


def _sizes(sizes: Ints) -> dict[str, int | None]:
    """Median, 99th percentile and largest: the smallest size that the share of chunks does not exceed (nearest rank)."""
    if not len(sizes):
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(sizes, [50, 99], method="inverted_cdf")
    return {"p50": int(p50), "p99": int(p99), "max": int(sizes.max())}


def _first_token(tables: Tables, kept: Flags) -> dict[str, float | None]:
    """Shares of chunks whose first teacher token ends with, after or before the first student token."""
    count = len(kept)
    ours, theirs = tables.student.first_ends(count)[kept], tables.teacher.first_ends(count)[kept]
    return {
        "equal": _share(int((theirs == ours).sum()), len(ours)),
        "over": _share(int((theirs > ours).sum()), len(ours)),
        "under": _share(int((theirs < ours).sum()), len(ours)),
    }


def masking_ratio(student: TokenTable, used: Flags, kept: Flags, probability: float) -> float | None:
    """Share of student tokens that are masked when tokens are drawn with ``probability`` and chunks masked whole.

    A chunk of n student tokens is masked when any of them is drawn: sum n (1 - (1 - p)^n) / sum n. Tokens in no chunk stand
    alone.
    """
    sizes = student.per_chunk(len(kept))[kept]
    alone = int((used & (student.chunk < 0)).sum())
    masked = float((sizes * -np.expm1(sizes * np.log1p(-probability))).sum()) + alone * probability
    return _share(masked, int(sizes.sum()) + alone)
