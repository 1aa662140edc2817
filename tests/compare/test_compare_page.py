"""The comparison as a page in a browser, as Markdown and as CSV; texts may say anything."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import CONTRAST, chromium, opened

from tide_core.comparison.lines import Cell, Comparison, Equality, Line, counted, estimated, line
from tide_core.comparison.page import page
from tide_core.comparison.tables import as_csv, as_markdown
from tide_core.html_pages import write_page
from tide_specs import Estimate

EVIL = "</script><script>document.title='broken'</script>|b"


def cell(difference: float, low: float, high: float) -> Cell:
    return Cell(text=f"2.0; {difference}", value=2.0, difference=difference, difference_low=low, difference_high=high)


BITS = {"a": estimated(Estimate(value=2.5, low=2.4, high=2.6)), EVIL: cell(-0.5, -0.6, -0.4), "c": cell(0.5, 0.4, 0.6)}
FOUND = Comparison(
    baseline="a",
    columns=["a", EVIL, "c"],
    lines=[
        Line(group="bits", label="bits_per_byte", cells=BITS, better="lower"),
        Line(group="bits", label="accuracy", cells={"a": BITS["a"], "c": cell(0.1, -0.1, 0.3)}, better="higher"),
        line("what it took", "optimizer steps", {"a": counted(1000), EVIL: counted(1000), "c": None}),
    ],
    equal=[
        Equality(what="optimizer steps", equal=True, numbers={"a": "1,000", EVIL: "1,000", "c": "1,000"}),
        Equality(what="teacher forwards", equal=False, numbers={"a": "0", EVIL: "8", "c": "9"}),
    ],
    notes=[EVIL],
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("page") / "comparison.html"
    write_page("--html", str(written), page(FOUND))
    return written


def test_the_page_shows_the_table_and_what_is_held_equal(browser: Any, path: Path) -> None:
    with opened(browser, path) as shown:
        assert shown.title() == "Comparison"
        assert shown.locator("#lines thead th").all_text_contents() == ["a (baseline)", EVIL, "c"]
        assert shown.locator("#lines th.group").all_text_contents() == ["bits", "what it took"]
        first = shown.locator("#lines tbody tr").nth(1)
        assert first.locator("th").text_content() == "bits_per_byte (lower is better)"
        assert first.locator("td").all_text_contents() == ["2.500 (2.400 to 2.600)", "2.0; -0.5better", "2.0; 0.5worse"]
        second = shown.locator("#lines tbody tr").nth(2).locator("td")
        assert second.all_text_contents() == ["2.500 (2.400 to 2.600)", "-", "2.0; 0.1"], (
            "an interval with 0 is no verdict"
        )
        equal = [row.locator("td").all_text_contents() for row in shown.locator("#equal tbody tr").all()]
        assert equal == [["yes", "1,000", "1,000", "1,000"], ["no", "0", "8", "9"]]
        assert shown.locator("#notes li").all_text_contents() == [EVIL]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_and_a_narrow_window_scrolls_the_table_alone(
    scheme: str, browser: Any, path: Path
) -> None:
    with opened(browser, path, scheme, width=380) as shown:
        found = shown.evaluate(CONTRAST)
        assert len(found) > 25
        assert min(found)[0] > 4.5, min(found)
        assert shown.evaluate("document.documentElement.scrollWidth") <= 380


def test_csv_has_the_numbers_in_full() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(FOUND))))
    bits = {row["run"]: row for row in rows if row["quantity"] == "bits_per_byte"}
    assert (bits["a"]["value"], bits["a"]["low"], bits["a"]["difference"]) == ("2.5", "2.4", "")
    assert [bits[EVIL][name] for name in ("difference", "difference_low", "difference_high")] == [
        "-0.5",
        "-0.6",
        "-0.4",
    ]
    forwards = {row["run"]: row["value"] for row in rows if row["group"] == "held equal: no"}
    assert forwards == {"a": "0", EVIL: "8", "c": "9"}


def test_markdown_tables_stay_tables() -> None:
    text = as_markdown(FOUND)
    assert "| accuracy (higher is better) | 2.500 (2.400 to 2.600) | - | 2.0; 0.1 |" in text
    assert "| teacher forwards | **no** | 0 | 8 | 9 |" in text
    rows = [row for row in text.splitlines() if row.startswith("| ")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {5, 6}
    assert "<script>" not in text
