"""The report as one HTML page: the template ``page.html`` with the report in it as JSON; it fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from tide_specs import ConfigError

from ..denoising_trace import embedded
from .excerpts import EXCERPT, excerpts
from .figures import RELATIONS
from .report import Report
from .wording import FIRST, LEVELS, RELATION_MEANINGS, columns, lines

_PLACE = "{{ report }}"


def page(report: Report) -> str:
    """Return the page."""
    template = files("tide_core").joinpath("alignment_report", "page.html").read_text(encoding="utf-8")
    before, _, after = template.partition(_PLACE)
    return before + embedded(contents(report)) + after


def contents(report: Report) -> dict[str, Any]:
    """Return what the page shows, as plain data."""
    data = report.data
    return {
        "facts": facts(data),
        "relations": [[name, RELATION_MEANINGS[name]] for name in (*RELATIONS, "none")],
        "first": FIRST,
        "levels": LEVELS,
        "columns": columns(data),
        "lines": [asdict(line) for line in lines(data)],
        "shares": {name: one["relation_bytes"] for name, one in {"total": data["total"], **data["domains"]}.items()},
        "excerpt": EXCERPT,
        "domains": [{"name": name, "messages": spans} for name, spans in excerpts(report.tables).items()],
    }


def facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was compared, as pairs of a term and its value."""
    found = [(side, f"{data[side]['source']} ({_described(data[side])})") for side in ("student", "teacher")]
    cut = f" (cut: {', '.join(data['text']['cut'])})" if data["text"]["cut"] else ""
    return [*found, ("alignment", data["alignment"]["name"]), ("text", data["text"]["source"] + cut)]


def _described(side: Mapping[str, Any]) -> str:
    words = [side["describe"].get("algorithm", ""), f"{side['ids']:,} ids"]
    if side["vocabulary_shared"] is not None:
        words.append(f"{side['vocabulary_shared']:.0%} of them on the other side too")
    return ", ".join(filter(None, words))


def require_writable(path: str) -> None:
    """Raise ``ConfigError`` unless a file can be written there, before any work is done."""
    file = Path(path)
    if file.is_dir():
        raise ConfigError(f"--html {path}: is a folder; name a file in it, e.g. {file / 'alignment.html'}")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"--html {path}: there is no folder {file.parent}; make it first")


def write_page(path: str, report: Report) -> None:
    """Write the page. Raises ``ConfigError`` when the file cannot be written."""
    try:
        Path(path).write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html {path}: cannot be written ({error.strerror or error}); name another file") from error
