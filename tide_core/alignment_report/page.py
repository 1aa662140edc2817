"""The report as one HTML page: the template ``page.html`` with the report in it as JSON; it fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..html_pages import filled
from .excerpts import EXCERPT, excerpts
from .figures import RELATIONS
from .report import Report
from .teacher_wording import how_asked
from .wording import FIRST, LEVELS, RELATION_MEANINGS, columns, lines


def page(report: Report) -> str:
    """Return the page."""
    return filled("alignment_report/page.html", contents(report))


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
    found += [("alignment", data["alignment"]["name"]), ("text", data["text"]["source"] + cut)]
    if "pass" in data:
        found += [("teacher's pass", how_asked(data["pass"])), ("projection", _options(data["pass"]["projection"]))]
    return found


def _options(component: Mapping[str, Any]) -> str:
    """``vocabulary_projection (match: first_token)``."""
    given = ", ".join(f"{name}: {value}" for name, value in component.items() if name != "name" and value is not None)
    return f"{component['name']} ({given})" if given else component["name"]


def _described(side: Mapping[str, Any]) -> str:
    words = [side["describe"].get("algorithm", ""), f"{side['ids']:,} ids"]
    if side["vocabulary_shared"] is not None:
        words.append(f"{side['vocabulary_shared']:.0%} of them on the other side too")
    return ", ".join(filter(None, words))
