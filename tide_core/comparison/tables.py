"""The comparison as a table in a terminal, as Markdown and as CSV. Imports no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .lines import Cell, Comparison, Line

if TYPE_CHECKING:
    from rich.table import Table

LEGEND = "Behind a value stands its 95 % interval; behind the semicolon, the difference from {} on the same documents."
UNEQUAL = "What is not held equal may explain a difference as well as the method does."
COLUMNS: Sequence[str] = (
    "group",
    "quantity",
    "better",
    "run",
    "value",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
    "p",
)


def heads(comparison: Comparison) -> list[str]:
    """Return the heads of the columns; the baseline is marked."""
    return [f"{name} (baseline)" if name == comparison.baseline else name for name in comparison.columns]


def label(line: Line) -> str:
    """Return what a line is about, and which way it is better."""
    return f"{line.label} ({line.better} is better)" if line.better else line.label


def texts(comparison: Comparison, line: Line) -> list[str]:
    """Return a text for each column; ``-`` where a run lacks the quantity."""
    return [line.cells[name].text if name in line.cells else "-" for name in comparison.columns]


def groups(comparison: Comparison) -> Iterator[tuple[str, list[Line]]]:
    """Yield the lines below each heading, in their order."""
    for group in dict.fromkeys(line.group for line in comparison.lines):
        yield group, [line for line in comparison.lines if line.group == group]


def as_table(comparison: Comparison) -> Table:
    """Return the table for a terminal; what is held equal is its end."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for head in heads(comparison):
        table.add_column(Text(head), overflow="fold")
    for group, lines in groups(comparison):
        table.add_row(Text(group, "bold"))
        for line in lines:
            table.add_row(Text(f"  {label(line)}"), *map(Text, texts(comparison, line)))
    return table


def as_markdown(comparison: Comparison) -> str:
    """Return the table, what is held equal, and the notes."""
    rows = [["", *heads(comparison)]]
    for group, lines in groups(comparison):
        rows.append([f"**{_escaped(group)}**", *([""] * len(comparison.columns))])
        rows += [[_escaped(label(line)), *map(_escaped, texts(comparison, line))] for line in lines]
    rows[0] = [*map(_escaped, rows[0])]
    equal = [["held equal", "", *map(_escaped, comparison.columns)]]
    for one in comparison.equal:
        numbers = [_escaped(one.numbers.get(name, "")) for name in comparison.columns]
        equal.append([_escaped(one.what), "yes" if one.equal else "**no**", *numbers])
    parts = ["# Comparison", _markdown_table(rows), LEGEND.format(f"`{comparison.baseline}`"), "## Held equal"]
    parts += [_markdown_table(equal), UNEQUAL]
    if comparison.notes:
        parts += ["## Notes", "\n".join(f"- {_escaped(note)}" for note in comparison.notes)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return "".join(f"\\{letter}" if letter in "\\`*_|<>[]#~" else letter for letter in " ".join(text.split()))


def as_csv(comparison: Comparison) -> str:
    """Return a row for each quantity of each column, and one for each thing held equal or not; numbers in full."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for line in comparison.lines:
        for name, cell in line.cells.items():
            writer.writerow(
                {"group": line.group, "quantity": line.label, "better": line.better, "run": name, **_row(cell)}
            )
    for one in comparison.equal:
        for name, number in one.numbers.items():
            word = f"held equal: {'yes' if one.equal else 'no'}"
            writer.writerow({"group": word, "quantity": one.what, "run": name, "value": number})
    return stream.getvalue()


def _row(cell: Cell) -> dict[str, object]:
    record = cell.record()
    text = record.pop("text")
    return {"value": text, **record}
