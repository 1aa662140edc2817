"""The page of a matrix report in a browser: what it shows, by mouse and by keyboard, in light and in dark."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matrix_results import METRIC, results

sys.path.append(str(Path(__file__).parents[1] / "docs"))

from browsers import CONTRAST, chromium, opened

from tide_core.matrix_report import ReportOptions, write_report
from tide_specs import Estimate

EVIL = "</script><script>document.title='broken'</script><b>kl"
AXES = {
    "teacher": ("llada", "dream"),
    "student": ("qwen", "gemma"),
    "data": ("code", "prose"),
    "objective": ("alone", EVIL, "calm"),
    "seed": ("0", "1", "2", "3"),
}


def effect(place: Mapping[str, str]) -> float:
    if place["objective"] != EVIL:
        return 0.0
    return -0.4 if place["student"] == "qwen" else 0.3


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    config, log = folder / "config.json", folder / "log.txt"
    config.write_text('{"steps": 7}')
    log.write_text(EVIL + f"\nthe end of {Path.cwd() / 'log'}\n")
    cells = results(AXES, effect)
    for index, one in enumerate(cells):
        known = {"config_path": config, "log_path": log}
        if one.labels["teacher"] == "dream" and one.labels["data"] == "prose" and one.labels["objective"] == "calm":
            known |= {"status": "impossible", "reason": EVIL, "metrics": {}, "per_example": {}, "curves": {}}
        else:
            known["metrics"] = {**one.metrics, "score/accuracy": Estimate(value=0.5 - effect(one.labels) / 10)}
        cells[index] = replace(one, **known)
    return write_report(cells, ReportOptions(replicates=400), folder / "report").page


def test_heat_maps_have_the_effect_and_its_interval_in_every_cell(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        assert page.title() == "Matrix report"
        captions = page.locator("#maps caption").all_text_contents()
        assert captions == [f"{one} (data {data})" for one in (EVIL, "calm") for data in ("code", "prose")]
        first = page.locator("#maps table").first
        assert first.locator("thead th[scope=col]").all_text_contents() == ["qwen", "gemma"]
        assert first.locator("tbody th[scope=row]").all_text_contents() == ["llada", "dream"]
        cell = first.locator("tbody td").first
        assert "better" in cell.get_attribute("class")
        value, between, word = (cell.locator(one).text_content() for one in ("b", "small >> nth=0", "small >> nth=1"))
        assert value.startswith("−0.4") or value.startswith("−0.3")
        assert between.startswith("−0.") and " to −0." in between and word == "better"
        assert page.locator("#maps td.worse").count() == 4
        assert page.locator("#maps td.unclear").count() == 6
        assert page.locator("#maps td.impossible").all_text_contents() == ["impossible"] * 2
        assert page.locator("#gaps").text_content().count("impossible") == 1


def test_verdicts_ranks_and_curves_are_there(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        headlines = page.locator(".verdict > p:not(.quiet)").all_text_contents()
        assert headlines[0].startswith("Does not generalise") and headlines[1].startswith("Not enough evidence")
        assert page.locator("#ranks tbody th").count() == 3
        assert "Not ranked: teacher dream, student qwen, data prose" in page.locator("#unranked").text_content()
        assert page.locator("#panels figure").count() == 8
        drawing = page.locator("#panels svg").first
        assert f"{METRIC} over steps" in drawing.get_attribute("aria-label")
        assert drawing.locator("path.seed").count() == 12 and drawing.locator("path.line").count() == 3
        page.locator("#curve").select_option("loss")
        assert page.locator("#panels svg").first.get_attribute("aria-label").startswith("loss over steps")


def test_the_keyboard_leads_from_a_heat_map_to_configuration_and_log(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        page.locator("#maps td a").first.focus()
        page.keyboard.press("Enter")
        page.locator("#effects tr.found").wait_for()
        assert page.evaluate("document.activeElement.id") == "effect-0"
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        box = page.locator("#cells details.found")
        box.wait_for()
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert box.locator("pre").nth(0).text_content() == '{"steps": 7}'
        assert box.locator("pre").nth(1).text_content() == EVIL + "\nthe end of log"
        assert box.locator("pre").nth(1).is_visible()


def test_another_metric_has_its_own_direction_and_says_that_documents_are_missing(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        page.locator("#metric").select_option("1")
        assert "higher is better" in page.locator("#what").text_content()
        assert "intervals are over seeds only" in page.locator("#notes").text_content()
        assert page.locator("#maps td").filter(has_text="seeds only").count() == 14
        first = page.locator("#maps tbody td").first
        assert "better" in first.get_attribute("class") and first.locator("b").text_content().startswith("+0.04")


LINES = """() => [...document.querySelectorAll('#lines path')].map(one => getComputedStyle(one).stroke + one.getAttribute('stroke-dasharray'))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_both_schemes(scheme: str, browser: Any, path: Path) -> None:
    with opened(browser, path, scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        found = page.evaluate(CONTRAST)
        assert len(found) > 300
        assert min(found)[0] > 4.5, min(found)
        assert len(set(page.evaluate(LINES))) == 3


def test_better_and_worse_differ_without_colour_and_for_the_colour_blind(browser: Any, path: Path) -> None:
    ground = "one => getComputedStyle(one).backgroundColor"
    with opened(browser, path) as page:
        page.context.new_cdp_session(page).send("Emulation.setEmulatedVisionDeficiency", {"type": "deuteranopia"})
        better, worse = (page.locator(f"#maps td.{one}").first for one in ("better", "worse"))
        assert better.evaluate(ground) != worse.evaluate(ground)
        assert better.locator(".outcome").text_content() == "better"
        assert worse.locator(".outcome").text_content() == "worse"
        names = page.locator("#maps td a").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
        assert all("teacher " in name and "student " in name for name in names) and len(names) == 16


def test_a_narrow_window_scrolls_tables_and_not_the_page(browser: Any, path: Path) -> None:
    with opened(browser, path, width=380) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
