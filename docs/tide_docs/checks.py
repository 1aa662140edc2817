"""The checks of the conformance kit, as the kit itself lists them."""

from __future__ import annotations

from tide_specs.testing import Check, checks_for

from .markdown import code, escaped, link, table

COMMON = "common"


def own_checks(page: str, kind: str) -> str:
    """The checks that only this kind has, and where to find the others."""
    checks = checks_for(kind)
    common = sum(check.module == COMMON for check in checks)
    place = link(page, "plugins/conformance.md")
    note = f"Besides, the [{common} checks that every kind has]({place}#every-kind)."
    return f"{_listed([check for check in checks if check.module != COMMON])}\n\n{note}"


def common_checks(page: str) -> str:
    """The checks that every kind has."""
    return _listed([check for check in checks_for("loss") if check.module == COMMON])


def _listed(checks: list[Check]) -> str:
    return table(("check", "what it holds you to"), [(code(check.name), escaped(check.summary)) for check in checks])
