"""mkdocs hook: replaces ``{{ directive argument }}`` lines by text generated from the code, so that it cannot drift."""

from __future__ import annotations

from typing import Any

from tide_docs import expand


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Expand the directives of one page."""
    return expand(markdown, page.file.src_uri)
