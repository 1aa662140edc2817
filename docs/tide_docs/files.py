"""Files of the repository, shown on a page as they are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".jsonl": "json"}


def file(page: str, path: str, title: str) -> str:
    """A file, from the repository's root, under a title."""
    source = ROOT / path
    text = source.read_text(encoding="utf-8").removesuffix("\n")
    return f'```{LANGUAGES[source.suffix]} title="{title}"\n{text}\n```'
