"""The page that ``--trace`` writes, in a browser: it plays to the end, by mouse and by keyboard, in light and in dark."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "run"))
sys.path.append(str(Path(__file__).parents[1] / "docs"))

from browsers import chromium
from run_files import DEMO

from tide_core.cli.main import call

SCRIPTED = ("--plugin", str(Path(__file__).with_name("scripted_sampler.py")), "--sampler", "scripted")
EVIL = "</script><!--<script>document.title='broken'</script>\n\té = '\U0001f642'"
PROMPTS = ("-p", "def </script><b>f():", "-p", "second <!-- prompt")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a trace of the demo's teacher."""

    def write(*arguments: str) -> Path:
        path = tmp_path_factory.mktemp("trace") / "trace.html"
        assert call(["generate", str(DEMO / "teacher"), *arguments, "--trace", str(path)]) == 0
        return path

    return write


@pytest.fixture(scope="module")
def evil(traced: Callable[..., Path]) -> Path:
    return traced(
        *SCRIPTED, "--set", "text=" + json.dumps(EVIL, ensure_ascii=False), *PROMPTS, "--max-new-tokens", "60"
    )


class Player:
    """A page with all that it complained of, and all that it wanted from elsewhere."""

    def __init__(self, browser: Any, path: Path, scheme: str = "light") -> None:
        self.context = browser.new_context(color_scheme=scheme)
        self.complaints: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url, path.as_uri()))
        self.page.goto(path.as_uri())

    def _asked(self, url: str, own: str) -> None:
        if url != own and not url.startswith("data:"):
            self.complaints.append(url)

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def text(self, name: str) -> str:
        return self.page.locator(f"#{name}").text_content()

    def step(self) -> int:
        return int(re.match(r"Step (\d+) of", self.text("status")).group(1))

    def press(self, *keys: str) -> Player:
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def play_to_the_end(self) -> None:
        self.page.locator("#speed").select_option("100")
        self.page.locator("#play").click()
        self.wait_for("; ")

    def wait_for(self, status: str) -> None:
        self.page.locator("#status", has_text=status).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_plays_to_the_end_and_shows_the_text(scheme: str, browser: Any, evil: Path) -> None:
    with Player(browser, evil, scheme) as player:
        assert player.step() == 0
        assert set(player.text("text")) == {"░"}
        player.play_to_the_end()
        assert player.text("text") == EVIL
        assert player.text("prompt") == PROMPTS[1]
        assert "1 revision; ended by the model" in player.text("status")
        assert player.page.locator("#play").get_attribute("aria-label") == "Play"
        player.page.locator("#row").select_option("1")
        assert (player.step(), player.text("prompt")) == (0, PROMPTS[3])
        player.play_to_the_end()
        assert player.text("text") == EVIL
        assert player.page.title() == "Denoising trace"
        assert player.complaints == []


def test_keys_step_play_and_pause(browser: Any, evil: Path) -> None:
    with Player(browser, evil) as player:
        assert player.press("ArrowRight", "ArrowRight", "ArrowRight").step() == 3
        assert player.press("ArrowLeft").step() == 2
        player.press("End")
        assert player.text("text") == EVIL
        last = player.step()
        assert player.press("ArrowRight").step() == last
        assert player.press("Home", "ArrowLeft").step() == 0
        player.press("+", "Space")
        player.wait_for("Step 2 ")
        assert player.page.locator("#play").get_attribute("aria-label") == "Pause"
        stopped = player.press("Space").step()
        player.page.wait_for_timeout(300)
        assert player.step() == stopped
        player.page.locator("#scrubber").focus()
        assert player.press("ArrowRight").step() == stopped + 1
        player.page.locator("#play").focus()
        player.press("Space")
        assert player.page.locator("#play").get_attribute("aria-label") == "Pause"
        assert player.complaints == []


def test_tokens_stand_where_they_were_written_and_what_changed_is_seen(browser: Any, evil: Path) -> None:
    with Player(browser, evil) as player:
        board = player.page.locator("#board > span")
        player.press("ArrowRight")
        fresh = player.page.locator("#board .fresh")
        place = int(fresh.get_attribute("data-place"))
        assert fresh.text_content() == "!"
        assert "score 0.25, step 1 (forward pass 1)" in fresh.get_attribute("title")
        player.press("ArrowRight")
        assert player.page.locator("#board .special").text_content() == "⟨end⟩"
        assert player.page.locator("#board .open:visible").count() == place
        player.press("ArrowRight")
        revised = board.nth(place)
        assert "revised" in revised.get_attribute("class")
        assert 'before: "!" in step 1' in revised.get_attribute("title")
        revised.hover()
        assert player.text("detail") == revised.get_attribute("title")
        halves = [player.press("ArrowRight").text("text").count("\ufffd") for _ in range(place)]
        assert max(halves) > 0 and halves[-1] == 0
        assert player.page.locator("#board").text_content().replace("⏎", "").replace("·", "").startswith(EVIL)


def test_without_a_pointer_everything_has_a_name(browser: Any, evil: Path) -> None:
    with Player(browser, evil) as player:
        controls = player.page.locator("button, input, select")
        unnamed = controls.evaluate_all(
            "all => all.filter(one => !one.getAttribute('aria-label') && !one.labels?.length).map(one => one.id)"
        )
        assert (controls.count(), unnamed) == (9, [])
        player.press("ArrowRight")
        assert player.page.locator("#scrubber").get_attribute("aria-valuetext").startswith("step 1 of ")
        assert player.page.locator("#status").get_attribute("role") == "status"


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const light = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => (v /= 255) <= .04045 ? v / 12.92
      : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  return [...document.querySelectorAll('#board .written')].map(one => {
    const style = getComputedStyle(one), pair = [light(style.color), light(style.backgroundColor)].sort((a, b) => b - a);
    return (pair[0] + .05) / (pair[1] + .05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("colour", ["score", "step"])
def test_tokens_can_be_read_in_both_schemes(scheme: str, colour: str, browser: Any, evil: Path) -> None:
    with Player(browser, evil, scheme) as player:
        player.page.locator("#colour").select_option(colour)
        for key in ("ArrowRight", "End"):
            ratios = player.press(key).page.evaluate(CONTRAST)
            assert ratios and min(ratios) > 4.5


def test_colours_tell_scores_and_steps_apart(browser: Any, evil: Path) -> None:
    ground = "all => all.map(one => getComputedStyle(one).backgroundColor)"
    with Player(browser, evil) as player:
        unsure = player.press("ArrowRight").page.locator("#board .written").evaluate_all(ground)
        sure = player.press("End").page.locator("#board .written").evaluate_all(ground)
        assert len(set(sure)) == 1 and set(unsure) != set(sure)
        player.page.locator("#colour").select_option("step")
        assert len(set(player.page.locator("#board .written").evaluate_all(ground))) > len(sure) // 2


def test_a_sampler_of_tides_and_its_facts(browser: Any, traced: Callable[..., Path]) -> None:
    path = traced("-p", "def add(a, b):", "--max-new-tokens", "24", "--set", "tokens_per_step=3", "--seed", "5")
    with Player(browser, path) as player:
        facts = dict(
            zip(
                player.page.locator("dt").all_text_contents(),
                player.page.locator("dd").all_text_contents(),
                strict=True,
            )
        )
        assert (facts["Family"], facts["Form"], facts["Seed"]) == ("llama", "bidirectional", "5")
        assert "tokens_per_step=3" in facts["Sampler"]
        player.play_to_the_end()
        assert player.page.locator("#choice").is_hidden()
        assert f"{facts['Forward passes (NFE)']} forward passes" in player.text("status")
        assert f"{facts['Tokens per forward']} tokens per forward" in player.text("status")
        assert player.page.locator("#chart rect").count() == player.step()
        assert player.complaints == []


def test_gaps_are_shown_inside_their_text(browser: Any, traced: Callable[..., Path]) -> None:
    path = traced("--infill", "-p", "def f(x):<gap:4> return x")
    with Player(browser, path) as player:
        assert player.text("text") == "def f(x):░░░░ return x"
        player.play_to_the_end()
        assert re.fullmatch(r"def f\(x\):.+ return x", player.text("text"), re.DOTALL)
        assert "4 tokens" in player.text("status")
        assert "every gap is filled" in player.text("status")


def test_a_result_without_steps_is_shown_as_such(browser: Any, traced: Callable[..., Path]) -> None:
    path = traced(*SCRIPTED[:3], "earlier", "-p", "x")
    with Player(browser, path) as player:
        assert player.page.locator("#note").is_visible()
        assert player.page.locator("#scene").is_hidden()
        assert player.text("text") == "abc"
        player.press("Space", "ArrowRight", "End")
        assert player.step() == 0
        assert player.complaints == []
