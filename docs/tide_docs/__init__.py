"""Text of the documentation that is generated from the code.

A page asks for it with a line ``{{ directive }}`` or ``{{ directive argument ... }}``; ``DIRECTIVES`` lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from . import catalogue, checks, commands, configuration, families, files, hooks

DIRECTIVES: dict[str, Callable[..., str]] = {
    "bundled": catalogue.bundled,
    "catalogue": catalogue.catalogue,
    "checks": checks.own_checks,
    "common_checks": checks.common_checks,
    "commands": commands.commands,
    "example": hooks.example,
    "families": families.families,
    "file": files.file,
    "hook": hooks.component_hook,
    "hooks": hooks.all_hooks,
    "lifecycle_hooks": hooks.lifecycle_hooks,
    "matrix_file": configuration.matrix_file,
    "run_file": configuration.run_file,
    "section": configuration.section,
}
"""Name of a directive -> the function that writes its text; the first argument is always the page's path."""

LINE = re.compile(r"^\{\{ (\w+)((?: [^\s}]+)*) \}\}$", re.MULTILINE)


def expand(markdown: str, page: str) -> str:
    """Replace every directive of a page. Raises ``KeyError`` for one that does not exist."""

    def written(match: re.Match[str]) -> str:
        name, arguments = match.groups()
        return DIRECTIVES[name](page, *arguments.split())

    return LINE.sub(written, markdown)
