"""The figures of a report in words: the lines of the table on the terminal and of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .figures import RELATIONS
from .lines import Figure, Line, read, said
from .teacher_wording import teacher_groups

SIDES = ("student", "teacher")
RELATION_MEANINGS = {
    "1:1": "one token on each side",
    "n:1": "several student tokens make one teacher token",
    "1:m": "several teacher tokens make one student token",
    "m:n": "several tokens on both sides",
    "none": "in no chunk",
}
FIRST = {
    "equal": "ends with the first student token",
    "over": "ends after the first student token (overshoot)",
    "under": "ends before the first student token (undershoot)",
}
LEVELS = {
    "exact": "spell exactly",
    "normalised": "spell up to letter case, accents, white space and Unicode forms",
    "lost": "lose; it is excluded from the figures below",
}
SIZES = {"p50": "median", "p99": "99th percentile", "max": "largest"}


def columns(data: Mapping[str, Any]) -> list[str]:
    """Return the heads of the columns: all text, then each domain unless there is only one."""
    return ["total", *(data["domains"] if len(data["domains"]) > 1 else ())]


def lines(data: Mapping[str, Any]) -> list[Line]:
    """Return every figure for every column."""
    shown = [data["total"], *(data["domains"][name] for name in columns(data)[1:])]
    found: list[Line] = []
    groups = _groups(data["total"]["masking"]["p"])
    if "pass" in data:
        groups |= teacher_groups(data["pass"])
    for group, figures in groups.items():
        for number, figure in enumerate(figures):
            cells = [said(read(one, figure.place), digits=figure.digits) for one in shown]
            found.append(Line("" if number else group, figure.label, figure.meaning, cells))
    return found


def _groups(probability: float) -> dict[str, list[Figure]]:
    masked = f"share of student tokens masked when tokens are drawn with p = {probability:g} and chunks masked whole"
    return {
        "text": [
            Figure("bytes", "UTF-8 bytes of the text", ("bytes",)),
            *(Figure(f"{side} tokens", f"tokens of the {side}", ("tokens", side)) for side in SIDES),
            Figure("chunks", "shortest spans that hold whole tokens on both sides", ("chunks",)),
        ],
        "unknown": [
            Figure(side, f"share of {side} tokens that stand for unknown text (UNK)", ("unknown_tokens", side), 4)
            for side in SIDES
        ],
        "round trip": _round_trip(),
        "boundaries": [
            Figure("Jaccard", "common boundaries over those of either side", ("boundaries", "jaccard")),
            *(
                Figure(f"{side} recall", f"share of the {side}'s boundaries that are common", ("boundaries", side))
                for side in SIDES
            ),
        ],
        "share of bytes": [
            Figure(name, f"share of bytes with {meaning}", ("relation_bytes", name))
            for name, meaning in RELATION_MEANINGS.items()
        ],
        "share of chunks": [
            Figure(name, f"share of chunks with {RELATION_MEANINGS[name]}", ("relation_chunks", name))
            for name in RELATIONS
        ],
        "per chunk": [
            *(Figure(f"{side} tokens", f"mean number of {side} tokens", ("tokens_per_chunk", side)) for side in SIDES),
            *(Figure(f"bytes {name}", f"{SIZES[name]} of the bytes", ("bytes_per_chunk", name)) for name in SIZES),
        ],
        "first token": [
            Figure(name, f"share of chunks whose first teacher token {meaning}", ("first_token", name))
            for name, meaning in FIRST.items()
        ],
        f"masking at {probability:g}": [Figure("ratio", masked, ("masking", "ratio"))],
        "vocabulary": [
            Figure(
                f"{side}'s", f"share of {side} tokens used that the other side has too", ("vocabulary_overlap", side)
            )
            for side in SIDES
        ],
    }


def _round_trip() -> list[Figure]:
    found = [
        Figure(f"{side} {level}", f"share of bytes that the {side}'s tokens {meaning}", ("round_trip", side, level), 4)
        for side in SIDES
        for level, meaning in LEVELS.items()
    ]
    return [*found, Figure("excluded", "share of bytes that either side loses", ("round_trip", "excluded"), 4)]
