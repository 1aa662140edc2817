"""The pages of the documentation, and the examples in them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^\{\{ file (\S+) (\S+) \}\}$", re.MULTILINE)

sys.path.append(str(DOCS))  # for the generators in docs/tide_docs


def pages() -> list[Path]:
    """Every page, and the files at the root that readers see first."""
    return [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def title(page: Path) -> str:
    """The page's path, as a test's id."""
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    """A fenced block that a page holds itself."""

    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        return title(self.page)


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks of one language on a page."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [Block(page, name, text) for name, text in found if name == language]


def all_blocks(language: str) -> list[Block]:
    """The blocks of one language on all pages."""
    return [block for page in pages() for block in blocks(page, language)]


def shown_files(page: Path) -> list[str]:
    """The repository's files that a page shows, by their paths from its root."""
    return [path for path, _ in FILE.findall(page.read_text(encoding="utf-8"))]


def expanded(page: Path) -> str:
    """A page of ``docs/`` as mkdocs sees it, generated text included."""
    from tide_docs import expand

    return expand(page.read_text(encoding="utf-8"), page.relative_to(DOCS).as_posix())
