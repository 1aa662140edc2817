"""A deliberately wrong component, the check that must catch it, and words that the message must hold."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tide_specs import Component
from tide_specs.testing import CheckFailed, CheckSkipped, checks_for


@dataclass(frozen=True)
class Mutant:
    component: Component
    check: str
    says: str

    def __str__(self) -> str:
        return f"{type(self.component).__name__}-{self.check}"

    def verdict(self) -> str:
        """Run the named check and return its message; raise ``AssertionError`` when it lets the mutant live."""
        check = next(check for check in checks_for(self.component.kind) if check.name == self.check)
        try:
            check(self.component)
        except CheckFailed as fault:
            return str(fault)
        except CheckSkipped as reason:
            raise AssertionError(f"{self} was skipped: {reason}") from None
        raise AssertionError(f"{self} survived")

    def matches(self, message: str) -> bool:
        return re.search(self.says, message) is not None
