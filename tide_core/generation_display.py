"""Texts on a terminal while they are written: what is open, what has just been written, and how sure of it the sampler was."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.status import Status
from rich.table import Table
from rich.text import Text

from tide_specs import SamplingStep

from .draft import Cell, Draft
from .watching import Scene

OPEN = "░"
OPEN_SHOWN = 48
"""Open places in a row that are drawn one by one; of more only the number is said."""
COLUMN = 48
"""Columns that a text needs to stand beside another one."""
LINES = 5
"""Lines that a text needs, its frame included."""
INTERVAL = 1 / 12
"""Seconds between two pictures."""

SURE, UNSURE = 0.9, 0.5
STYLES = {"sure": "bold black on green", "fair": "black on yellow", "unsure": "white on red"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def confidence(score: float) -> str:
    """Return ``sure``, ``fair`` or ``unsure``."""
    return "sure" if score >= SURE else "fair" if score >= UNSURE else "unsure"


def printable(text: str) -> str:
    """Return a text that cannot steer a terminal: line breaks and tabs stay, other control characters become U+FFFD."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


class GenerationDisplay:
    """A spectator that draws on a terminal while its context is entered, and leaves nothing behind.

    Args:
        console: where to draw.
        clock: seconds, to draw no more often than the eye needs.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock, self._drawn = console, clock, -math.inf
        self._waiting: Status | None = None
        self._live: Live | None = None
        self.scene: Scene | None = None
        self.drafts: list[Draft] = []
        self.steps = 0

    def __enter__(self) -> GenerationDisplay:
        self._waiting = self._console.status("loading")
        self._waiting.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop_waiting()
        if self._live is not None:
            self._live.stop()

    def begin(self, scene: Scene) -> None:
        """Show the prompts with every place open."""
        pieces = scene.tokenizer.token_bytes()
        self.scene = scene
        self.drafts = [Draft(scene, row, pieces) for row in range(len(scene.ids))]
        if self._waiting is not None:
            self._waiting.update("writing")

    def step(self, step: SamplingStep) -> None:
        """Show a step, unless a picture has only just been drawn."""
        self.steps += 1
        self.drafts[step.row].apply(step)
        if self._clock() - self._drawn >= INTERVAL:
            self._draw()

    def picture(self) -> RenderableType:
        """Return the texts as they stand: beside one another where there is room, else one below the other."""
        if self.scene is None:
            return Text("")
        width, height = self._console.size
        beside = len(self.drafts) > 1 and width // len(self.drafts) >= COLUMN
        shown = self.drafts if beside else self.drafts[: max(1, (height - 2) // LINES)]
        lines = height - 3 if beside else (height - 3) // len(shown)
        columns = width // len(shown) if beside else width
        panels = [
            panel(draft, printable(prompt), columns=columns, lines=max(1, lines - 2), console=self._console)
            for draft, prompt in zip(shown, self.scene.prompts, strict=False)
        ]
        return Group(side_by_side(panels) if beside else Group(*panels), legend(len(self.drafts) - len(shown)))

    def _draw(self) -> None:
        if self._live is None:
            self._stop_waiting()
            self._live = Live(console=self._console, transient=True, auto_refresh=False)
            self._live.start()
        self._live.update(self.picture(), refresh=True)
        self._drawn = self._clock()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None


def side_by_side(panels: Sequence[RenderableType]) -> Table:
    """Return panels as columns of like width."""
    table = Table.grid(expand=True)
    for _ in panels:
        table.add_column(ratio=1)
    table.add_row(*panels)
    return table


def legend(hidden: int) -> Text:
    """Return what the colours mean, and how many texts found no room."""
    text = Text(f"{OPEN} open  ", style="dim")
    for name, style in STYLES.items():
        text.append(f" {name} ", style=style)
        text.append(" ")
    if hidden:
        text.append(f" and {hidden} more", style="dim")
    return text


def panel(draft: Draft, prompt: str, *, columns: int, lines: int, console: Console) -> Panel:
    """Return one text in a frame that names its prompt and says how far it is."""
    title = Text(" ".join(prompt.split()) or "(white space)", style="bold", no_wrap=True, overflow="ellipsis")
    written = draft.written()
    rate = written / draft.forwards if draft.forwards else 0.0
    progress = Text(f"{written} tokens, {draft.forwards} forwards, {rate:.1f} each", style="dim", no_wrap=True)
    body = window(answer(draft), columns - 4, lines, console)
    return Panel(body, title=title, subtitle=progress, title_align="left", subtitle_align="right", width=columns)


def answer(draft: Draft) -> tuple[Text, int]:
    """Return the answer up to its end, and where in it the last fresh token stands (0: none)."""
    text, anchor = Text(), 0
    for cell, fresh, count in _runs(draft):
        if cell.token is None:
            text.append(OPEN * min(count, OPEN_SHOWN), style="dim")
            text.append(f" +{count - OPEN_SHOWN} " if count > OPEN_SHOWN else "", style="dim italic")
            continue
        text.append(printable(cell.text or ""), style=_style(cell, fresh))
        anchor = len(text) if fresh else anchor
    return text, anchor


def _runs(draft: Draft) -> Iterator[tuple[Cell, bool, int]]:
    """Yield (cell, whether it is fresh, 1), and (an open cell, False, how many) for open cells in a row."""
    waiting = 0
    for place in range(draft.first, draft.end()):
        cell = draft.cells[place]
        if cell.token is None:
            waiting += 1
            continue
        if waiting:
            yield Cell(), False, waiting
        waiting = 0
        yield cell, place in draft.fresh, 1
    if waiting:
        yield Cell(), False, waiting


def _style(cell: Cell, fresh: bool) -> str:
    if fresh:
        return STYLES[confidence(cell.score)]
    return "underline" if cell.revisions else "dim" if cell.given else ""


def window(text_and_anchor: tuple[Text, int], columns: int, lines: int, console: Console) -> Text:
    """Return so many lines of a text that the anchor is among them."""
    text, anchor = text_and_anchor
    wrapped = list(text.wrap(console, max(1, columns)))
    current = len(text[:anchor].wrap(console, max(1, columns))) if anchor else 1
    stop = min(len(wrapped), max(lines, current + 1))
    return Text("\n").join(wrapped[max(0, stop - lines) : stop])
