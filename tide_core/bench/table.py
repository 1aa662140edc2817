"""The table that ``tide bench`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from .protocol import CACHE_WORDS

MIB = 1 << 20
COLUMNS = (
    "checkpoint",
    "batch",
    "tokens",
    "cache",
    "seconds [quartiles]",
    "tokens/s",
    "forwards",
    "tokens/forward",
    "positions/token",
    "GFLOP/token",
    "weights MiB",
    "working MiB",
    "x faster",
    "x less memory",
)
"""``tokens`` are the new ones of a row."""


def table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Return a line for each record, a rule between cells of the protocol."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        made.add_column(column, justify="left" if column in {"checkpoint", "cache"} else "right")
    for record in ordered(records):
        made.add_row(*cells(record))
    return made


def ordered(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sort by batch and length, so that the models of a cell stand below each other."""
    return sorted(records, key=lambda record: (record["batch_size"], record["new_tokens"]))


def cells(record: Mapping[str, Any]) -> list[str | Text]:
    """Return one line."""
    seconds = "{seconds:.3g} [{seconds_low:.3g}, {seconds_high:.3g}]".format_map(record)
    flops = record["flops_per_token"]
    return [
        Text(record["checkpoint"]),
        str(record["batch_size"]),
        str(record["new_tokens"]),
        CACHE_WORDS[record["cache"]],
        seconds,
        _number(record["tokens_per_second"]),
        str(record["forwards"]),
        _number(record["tokens_per_forward"]),
        _number(record["positions_per_token"]),
        _number(None if flops is None else flops / 1e9),
        _number(record["weights_bytes"] / MIB),
        _number(None if record["working_bytes"] is None else record["working_bytes"] / MIB),
        _ratio(record["times_faster"]),
        _ratio(record["times_less_memory"]),
    ]


def notes(records: Sequence[Mapping[str, Any]], machine: Mapping[str, Any], reference: str) -> list[str]:
    """Return the sentences below the table."""
    lines = [
        f"on {machine.get('device')}, {machine.get('dtype')}, {machine.get('threads')} threads, torch "
        f"{machine.get('torch')}; 'x' columns: against {reference}"
    ]
    short = sorted({r["checkpoint"] for r in records if r["tokens"] < r["batch_size"] * r["new_tokens"]})
    if short:
        lines.append(
            f"{', '.join(short)}: wrote fewer tokens than asked for, since rows ended early; rates count what was written"
        )
    return lines


def _number(value: float | None) -> str:
    """Three digits, no exponent."""
    if value is None:
        return "unknown"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
