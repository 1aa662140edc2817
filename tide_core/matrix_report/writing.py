"""Writing a report into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tide_specs import ConfigError

from ..html_pages import require_writable, write_page
from ..matrix.results import CellResult
from .effect_table import effect_csv
from .markdown import markdown
from .options import ReportOptions
from .page import page
from .report import Report, build_report

MARKDOWN, PAGE, EFFECTS = "report.md", "report.html", "effects.csv"


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """Where a report was written, and the report itself."""

    markdown: Path
    page: Path
    effects: Path
    report: Report


def write_report(results: Sequence[CellResult], options: ReportOptions, directory: Path) -> ReportFiles:
    """Write ``report.md``, ``report.html`` and ``effects.csv`` into a folder, which is made where there is none.

    Raises ``ConfigError`` as ``build_report`` does, and when the folder cannot be written to.
    """
    report = build_report(results, options)
    _make(directory)
    texts = {MARKDOWN: markdown(report), PAGE: page(report), EFFECTS: effect_csv(report)}
    for name, text in texts.items():
        path = str(directory / name)
        require_writable("report", path, name)
        write_page("report", path, text)
    return ReportFiles(markdown=directory / MARKDOWN, page=directory / PAGE, effects=directory / EFFECTS, report=report)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"report {directory}: cannot be made ({reason}); name another folder") from error
