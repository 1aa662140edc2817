"""The beginning of each domain as the page shows it: chunk by chunk, with the tokens of both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .tables import Tables, TokenTable

EXCERPT = 3_000
"""Bytes of each domain that are shown."""
Span = dict[str, Any]


def excerpts(tables: Tables, limit: int = EXCERPT) -> dict[str, list[list[Span]]]:
    """Return domain -> messages -> spans in text order, of about the first ``limit`` bytes of each domain.

    A span is a chunk, or text in no chunk (``relation`` -1). ``bytes``; ``first``: 1, 0 or -1 where the teacher's first token
    reaches farther than, as far as or less far than the student's; ``fidelity`` of the worse side; ``student`` and
    ``teacher``: tokens as [text, id], where text is ``None`` of a token that bounds nothing.
    """
    shown: dict[str, list[list[Span]]] = {domain: [] for domain in tables.domains}
    left = dict.fromkeys(tables.domains, limit)
    for number, (domain, raw) in enumerate(zip(tables.domains, tables.raw, strict=True)):
        if left[domain] > 0 and raw:
            shown[domain].append(_beginning(_spans(tables, number), left[domain]))
            left[domain] -= len(raw)
    return shown


def _beginning(spans: Sequence[Span], limit: int) -> list[Span]:
    sizes = np.cumsum([span["bytes"] for span in spans])
    return list(spans[: 1 + int(np.searchsorted(sizes, limit))])


def _spans(tables: Tables, number: int) -> list[Span]:
    """Every span of a message."""
    raw, chunks = tables.raw[number], tables.chunks
    first, last = np.searchsorted(chunks.message, [number, number + 1]).tolist()
    sides = {name: _tokens(getattr(tables, name), number, raw, last) for name in ("student", "teacher")}
    spans: list[Span] = []
    reached = 0
    for chunk in range(first, last + 1):
        there = chunk < last
        start, end = (int(chunks.start[chunk]), int(chunks.end[chunk])) if there else (len(raw), len(raw))
        between = {name: _shown(tokens.get((chunk, False), [])) for name, tokens in sides.items()}
        if start > reached or any(between.values()):
            spans.append({"relation": -1, "bytes": start - reached, "first": 0, "fidelity": 0, **between})
        if there:
            spans.append(_chunk(tables, chunk, {name: tokens[chunk, True] for name, tokens in sides.items()}))
        reached = end
    return spans


def _chunk(tables: Tables, chunk: int, tokens: Mapping[str, Sequence[Any]]) -> Span:
    ends = [next(end for *_, end in tokens[name] if end >= 0) for name in ("student", "teacher")]
    chunks = tables.chunks
    return {
        "relation": int(chunks.relation[chunk]),
        "bytes": int(chunks.bytes[chunk]),
        "first": int(np.sign(ends[1] - ends[0])),
        "fidelity": int(max(chunks.student_fidelity[chunk], chunks.teacher_fidelity[chunk])),
        **{name: _shown(found) for name, found in tokens.items()},
    }


def _shown(tokens: Sequence[tuple[Any, int, int]]) -> list[list[Any]]:
    return [[text, index] for text, index, _ in tokens]


def _tokens(side: TokenTable, number: int, raw: bytes, last: int) -> dict[tuple[int, bool], list[tuple[Any, int, int]]]:
    """(chunk, whether in it or before it) -> its tokens: text, id and end. ``last``: what stands for the message's end."""
    start, stop = np.searchsorted(side.message, [number, number + 1]).tolist()
    chunk = side.chunk[start:stop]
    inside = chunk >= 0
    # A token in no chunk stands before the chunk that comes next.
    coming = np.minimum.accumulate(np.where(inside, chunk, last)[::-1])[::-1]
    found: dict[tuple[int, bool], list[tuple[Any, int, int]]] = {}
    reached = 0
    table = zip(side.ids[start:stop], side.end[start:stop], coming, inside, strict=True)
    for index, end, near, within in (map(int, row) for row in table):
        text = raw[reached:end].decode("utf-8", "backslashreplace") if end >= 0 else None
        reached = max(reached, end)
        found.setdefault((near, bool(within)), []).append((text, index, end))
    return found
