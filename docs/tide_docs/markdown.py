"""Small pieces of Markdown."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Any

CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)
SPECIAL = re.compile(r"([\\*_<>\[\]|])")


def escaped(text: str) -> str:
    """Plain text of a docstring as Markdown: code spans are kept, everything else is taken literally."""
    parts = CODE.split(text)
    return "".join(part if CODE.fullmatch(part) else SPECIAL.sub(r"\\\1", part) for part in parts)


def code(text: str) -> str:
    """A code span; the tables extension lets it hold a bar."""
    return f"`{text}`" if text else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown without line breaks."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(" ".join(cell.split()) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def fence(text: str, language: str = "text") -> str:
    """A fenced code block."""
    return f"```{language}\n{text.strip()}\n```"


def link(page: str, target: str) -> str:
    """The relative address of ``target`` (from the documentation's root) on ``page``."""
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


def value(given: Any) -> str:
    """A default as a run file would write it."""
    if isinstance(given, float) and 0 < abs(given) < 1e-3:
        return f"{given:g}"
    return given if isinstance(given, str) and given else json.dumps(given)
