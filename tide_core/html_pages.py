"""Pages of one file that fetch nothing: a template with its data in it as JSON, written where the user says. Imports no torch.

A template has two places: ``{{ head }}`` for what all pages share (no network, light and dark, the same look), and
``{{ data }}`` for the data.
"""

from __future__ import annotations

import json
import tempfile
from importlib.resources import files
from pathlib import Path

from tide_specs import ConfigError

HEAD, DATA = "{{ head }}", "{{ data }}"


def filled(template: str, data: object) -> str:
    """Return the page of a template, named by its path inside ``tide_core``."""
    package = files("tide_core")
    head = package.joinpath("html_head.html").read_text(encoding="utf-8").rstrip()
    text = package.joinpath(*template.split("/")).read_text(encoding="utf-8")
    before, _, after = text.replace(HEAD, head, 1).partition(DATA)
    return before + embedded(data) + after


def embedded(value: object) -> str:
    """Return JSON that stays JSON inside a ``script`` element, whatever texts say: no ``<``, ``>`` or ``&`` is left in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def require_writable(option: str, path: str, example: str) -> None:
    """Raise ``ConfigError`` unless a file can be written there; leaves everything as it was.

    ``option``: what gave the path, e.g. ``--trace``; ``example``: a file name to propose where the path is a folder.
    """
    file = Path(path)
    if file.is_dir():
        raise ConfigError(f"{option} {path}: is a folder; name a file in it, e.g. {file / example}")
    if not file.parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no folder {file.parent}; make it first")
    try:
        if file.exists():
            file.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        raise _unwritable(option, path, error) from error


def write_page(option: str, path: str, page: str) -> None:
    """Write a page. Raises ``ConfigError`` when the file cannot be written."""
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise _unwritable(option, path, error) from error


def _unwritable(option: str, path: str, error: OSError) -> ConfigError:
    return ConfigError(f"{option} {path}: cannot be written ({error.strerror or error}); name another file")
