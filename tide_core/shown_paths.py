"""How paths are written in reports that are passed on."""

from __future__ import annotations

import os
from pathlib import Path


def from_here(text: str) -> str:
    """Write paths inside the current folder as it sees them: whoever reads a report need not know where that was."""
    return text.replace(f"{Path.cwd()}{os.sep}", "")
