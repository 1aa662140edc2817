"""Run the checks of a component without pytest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tide_specs.component import Component

from .catalogue import Check, checks_for
from .outcome import CheckFailed, CheckSkipped

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found. ``message``: why it failed or was skipped; empty when it passed."""

    component: str
    kind: str
    check: str
    status: Status
    message: str = ""


def run_checks(component: Component) -> list[CheckResult]:
    """Run every check of the component's kind, in order; nothing is raised for what the component does wrong."""
    return list(iterate_checks(component))


def iterate_checks(component: Component) -> Iterator[CheckResult]:
    """Yield each result as soon as it is known."""
    for check in checks_for(component.kind):
        status, message = _outcome(check, component)
        yield CheckResult(
            component=label(component), kind=component.kind, check=check.name, status=status, message=message
        )


def _outcome(check: Check, component: Component) -> tuple[Status, str]:
    try:
        check(component)
    except CheckSkipped as reason:
        return "skipped", str(reason)
    except CheckFailed as fault:
        return "failed", str(fault)
    return "passed", ""


def label(component: Component) -> str:
    """Return the component's name, followed by those of its options that differ from their defaults."""
    options = component.model_dump(exclude={"name"}, exclude_defaults=True)
    given = ", ".join(f"{key}={_short(repr(value))}" for key, value in options.items())
    return f"{component.name}({given})" if given else component.name


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:8]}...{text[-12:]}"
