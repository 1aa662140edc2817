"""A browser for tests that look at pages; they are skipped with the reason where none is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser of playwright's."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser is installed ({', '.join(BROWSERS)})")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@contextmanager
def opened(browser: Any, path: Path, scheme: str = "light", *, width: int = 1280) -> Iterator[Any]:
    """A page of one file; fails on anything that it complains of, or wants from elsewhere."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    complaints: list[str] = []

    def asked(request: Any) -> None:
        if request.url.split("#")[0] != path.as_uri() and not request.url.startswith("data:"):
            complaints.append(request.url)

    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", asked)
    page.goto(path.as_uri())
    yield page
    context.close()
    assert complaints == []


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const pixel = (...colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = ([r, g, b]) => { [r, g, b] = [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const grounds = one => one ? [...grounds(one.parentElement), getComputedStyle(one).backgroundColor] : [];
  return [...document.querySelectorAll('main *')].filter(one => one.checkVisibility() &&
    [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim())).map(one => {
      const style = getComputedStyle(one), text = one instanceof SVGElement ? style.fill : style.color;
      const pair = [light(pixel(text)), light(pixel(...grounds(one)))].sort((a, b) => b - a);
      return [(pair[0] + .05) / (pair[1] + .05), one.textContent];
  });
}"""
"""[contrast ratio, text] of every element under ``main`` that shows a text, over the grounds that lie behind it."""
