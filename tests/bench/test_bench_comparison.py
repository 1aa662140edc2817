"""Rows beside a reference: which row is compared with which, and what the ratios are."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from rich.console import Console

from tide_core.bench.comparison import as_csv, ratios, records, reference_of
from tide_core.bench.measurement import quartiles
from tide_core.bench.protocol import Row
from tide_core.bench.table import notes, table


def row(checkpoint: str = "student", **changes: Any) -> Row:
    base: dict[str, Any] = {
        "form": "block_diffusion",
        "sampler": "block",
        "batch_size": 1,
        "new_tokens": 16,
        "cache": True,
        "prompt_tokens": 5,
        "tokens": 16,
        "seconds": 2.0,
        "seconds_low": 1.5,
        "seconds_high": 2.5,
        "forwards": 8,
        "positions": 64,
        "flops": 3.2e9,
        "weights_bytes": 3 << 20,
        "working_bytes": 1 << 20,
    }
    return Row(checkpoint=checkpoint, **{**base, **changes})


def test_derived_numbers() -> None:
    one = row()
    assert (one.tokens_per_second, one.tokens_per_forward, one.positions_per_token) == (8.0, 2.0, 4.0)
    assert (one.flops_per_token, one.bytes) == (2e8, 4 << 20)
    silent = row(tokens=0, positions=None, flops=None, working_bytes=None, forwards=0)
    assert (silent.tokens_per_second, silent.tokens_per_forward) == (0.0, 0.0)
    assert (silent.positions_per_token, silent.flops_per_token, silent.bytes) == (None, None, None)


def test_a_row_is_compared_with_the_same_cell_and_the_same_cache_where_there_is_one() -> None:
    cached, uncached = row("teacher"), row("teacher", cache=False)
    others = [row("teacher", batch_size=8), row("teacher", new_tokens=32)]
    assert reference_of(row(), [*others, uncached, cached], "teacher") is cached
    assert reference_of(row(cache=False), [*others, cached, uncached], "teacher") is uncached
    assert reference_of(row(), [*others, uncached], "teacher") is uncached  # a model that caches nothing
    assert reference_of(row(), others, "teacher") is None
    assert reference_of(row(cache=None), [cached, uncached], "teacher") is None  # which of the two, nobody can say


def test_ratios_say_how_much_less_a_row_costs() -> None:
    teacher = row("teacher", seconds=5.0, flops=6.4e9, weights_bytes=7 << 20)
    assert ratios(row(), teacher) == {"times_faster": 2.5, "times_less_memory": 2.0, "times_fewer_flops": 2.0}
    assert ratios(row(working_bytes=None), teacher)["times_less_memory"] is None
    assert set(ratios(row(), None).values()) == {None}
    found = records([teacher, row()], "teacher")
    assert [record["times_faster"] for record in found] == [1.0, 2.5]


def test_csv_holds_every_number_and_leaves_out_what_is_unknown() -> None:
    found = records([row("a"), row("b", cache=None, flops=None)], "a")
    lines = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [line["checkpoint"] for line in lines] == ["a", "b"]
    assert [line["cache"] for line in lines] == ["cached", "-"]
    assert float(lines[0]["seconds"]) == 2.0 and float(lines[0]["tokens_per_forward"]) == 2.0
    assert lines[1]["flops"] == lines[1]["flops_per_token"] == ""


def test_the_table_groups_models_by_cell_and_says_who_wrote_less() -> None:
    found = records([row("a"), row("a", batch_size=8, tokens=100), row("b"), row("b", batch_size=8, tokens=128)], "a")
    console = Console(width=300, highlight=False)
    with console.capture() as captured:
        console.print(table(found))
    lines = captured.get().splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["a", "1"], ["b", "1"], ["a", "8"], ["b", "8"]]
    assert "2 [1.5, 2.5]" in lines[1]
    (machine, short) = notes(found, {"device": "cpu", "threads": 2}, "a")
    assert machine.startswith("on cpu") and machine.endswith("against a")
    assert short.startswith("a: wrote fewer tokens than asked for")


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], (3.0, 3.0, 3.0)), ([1.0, 2.0, 3.0, 4.0, 5.0], (2.0, 3.0, 4.0)), ([4.0, 2.0], (2.5, 3.0, 3.5))],
)
def test_quartiles(values: list[float], expected: tuple[float, float, float]) -> None:
    assert quartiles(values) == expected
