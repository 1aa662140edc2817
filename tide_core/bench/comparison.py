"""Rows beside those of a reference, as plain records and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .protocol import CACHE_WORDS, Row

DERIVED = ("tokens_per_second", "tokens_per_forward", "positions_per_token", "flops_per_token", "bytes")
RATIOS = ("times_faster", "times_less_memory", "times_fewer_flops")
"""The reference's seconds (median), bytes (weights and working memory) and operations, over the row's."""


def reference_of(row: Row, rows: Sequence[Row], reference: str) -> Row | None:
    """Return the reference's row for the same batch and length: with the same cache, or else the only one it has."""
    alike = [
        other
        for other in rows
        if other.checkpoint == reference and (other.batch_size, other.new_tokens) == (row.batch_size, row.new_tokens)
    ]
    return next((other for other in alike if other.cache == row.cache), alike[0] if len(alike) == 1 else None)


def ratios(row: Row, reference: Row | None) -> dict[str, float | None]:
    """Return how much less a row costs than its reference; ``None`` where either is not known."""
    if reference is None:
        return dict.fromkeys(RATIOS)
    pairs = ((reference.seconds, row.seconds), (reference.bytes, row.bytes), (reference.flops, row.flops))
    return {name: a / b if a and b else None for name, (a, b) in zip(RATIOS, pairs, strict=True)}


def records(rows: Sequence[Row], reference: str) -> list[dict[str, Any]]:
    """Return every row with its derived numbers and its ratios to the reference."""
    return [
        {
            **asdict(row),
            **{name: getattr(row, name) for name in DERIVED},
            **ratios(row, reference_of(row, rows, reference)),
        }
        for row in rows
    ]


def as_csv(found: Sequence[Mapping[str, Any]]) -> str:
    """Return records as CSV; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(found[0]) if found else [], lineterminator="\n")
    writer.writeheader()
    for record in found:
        writer.writerow({**record, "cache": CACHE_WORDS[record["cache"]]})
    return text.getvalue()
