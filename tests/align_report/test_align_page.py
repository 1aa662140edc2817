"""The page of ``--html`` in a browser: chunks, details, domains and figures, by mouse and by keyboard, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import chromium, opened
from test_align_figures import compared, texts

from tide_core.alignment_report.page import contents, page
from tide_core.html_pages import write_page
from tide_specs.byte_tokenizer import ByteTokenizer

EVIL = "</script><!--<script>document.title='broken'</script>"
TEXT = texts(plain="abcxabc\nab é", evil=EVIL)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "alignment.html"
    write_page("--html", str(path), page(compared(ByteTokenizer([b"ab"]), ByteTokenizer([b"bc"]), TEXT)))
    return path


def test_both_tokenizations_stand_over_each_other(browser: Any, written: Path) -> None:
    with opened(browser, written) as page:
        chunk = page.locator("#board .chunk").first
        sides = [side.locator(".token").all_text_contents() for side in chunk.locator(".side").all()]
        assert sides == [["ab", "c"], ["a", "bc"]]
        assert "r3" in chunk.get_attribute("class")
        shown = page.locator("#board .chunk .side:first-child").all_text_contents()
        assert "".join(shown) == "abcxabc⏎ab·◌é"  # the first byte of é bounds nothing
        assert page.locator("#board > div").count() == 2  # a block for each line
        assert page.title() == "Alignment report"


def test_pointing_and_keys_tell_about_a_chunk(browser: Any, written: Path) -> None:
    with opened(browser, written) as page:
        page.locator("#board .chunk").nth(1).hover()
        assert page.locator("#detail").text_content().startswith("1:1, one token on each side; 1 byte")
        page.locator("#board [tabindex='0']").focus()
        page.keyboard.press("ArrowLeft")
        detail = page.locator("#detail").text_content()
        assert detail.startswith("m:n, several tokens on both sides; 3 bytes")
        assert "(undershoot)" in detail
        assert 'Student: "ab" (id 256), "c" (id 99). Teacher: "a" (id 97), "bc" (id 256).' in detail
        page.keyboard.press("End")
        last = page.evaluate("document.activeElement.dataset.number")
        assert int(last) == page.locator("#board .chunk").count() - 1
        assert page.locator("#board [aria-selected='true']").count() == 1
        assert page.locator("#board [tabindex='0']").count() == 1
        assert (
            page.evaluate("document.activeElement.getAttribute('aria-label')") == page.locator("#detail").text_content()
        )


def test_domains_are_chosen_and_hostile_text_is_text(browser: Any, written: Path) -> None:
    with opened(browser, written) as page:
        assert page.locator("#bar").get_attribute("aria-label").startswith("Share of bytes: 1:1 ")
        page.locator("#domain").select_option("1")
        assert "".join(page.locator("#board .chunk .side:first-child").all_text_contents()) == EVIL
        assert page.locator("#bar").get_attribute("aria-label") == "Share of bytes: 1:1 100.0 %"
        assert page.locator("#figures thead th.chosen").text_content() == "evil"


def test_figures_are_those_of_the_report(browser: Any, written: Path) -> None:
    report = contents(compared(ByteTokenizer([b"ab"]), ByteTokenizer([b"bc"]), TEXT))
    with opened(browser, written) as page:
        rows = page.locator("#figures tbody tr")
        assert rows.count() == len(report["lines"])
        for number, line in enumerate(report["lines"]):
            cells = rows.nth(number).locator("td:not(:first-child)").all_text_contents()
            assert cells[-1 - len(line["cells"]) :] == [*line["cells"], line["meaning"]]
        assert page.locator("#figures thead th").all_text_contents() == [*report["columns"], "meaning"]


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const light = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => (v /= 255) <= .04045 ? v / 12.92
      : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const chunk = document.querySelector('.chunk');
  return ['r0', 'r1', 'r2', 'r3', 'none'].map(kind => {
    chunk.className = `chunk ${kind}`;
    const style = getComputedStyle(chunk);
    const pair = [light(style.color), light(style.backgroundColor)].sort((a, b) => b - a);
    return (pair[0] + .05) / (pair[1] + .05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_chunks_can_be_read_and_told_apart_in_both_schemes(scheme: str, browser: Any, written: Path) -> None:
    with opened(browser, written, scheme) as page:
        assert min(page.evaluate(CONTRAST)) > 4.5
        looks = page.locator("#legend i").evaluate_all(
            "all => all.map(one => getComputedStyle(one).backgroundColor + getComputedStyle(one).borderStyle)"
        )
        assert len(set(looks)) == 5
        unnamed = page.locator("select").evaluate_all("all => all.filter(one => !one.labels.length).length")
        assert unnamed == 0
