"""One pytest case for each component and check."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tide_specs.component import Component

from .catalogue import Check, checks_for
from .outcome import CheckSkipped
from .runner import label

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(
    components: Sequence[Component], *, expected_failures: Mapping[tuple[str, str], str] | None = None
) -> pytest.MarkDecorator:
    """Parametrize a test over ``component`` and ``check``; the test body is ``check(component)``.

    ``expected_failures`` maps ``(component name, check name)`` to the reason why that check is known to fail; a check
    that passes although it was expected to fail, or a pair that does not exist, is an error, so that the list stays true.
    """
    import pytest

    expected = dict(expected_failures or {})
    cases: list[Any] = []
    for component in components:
        for check in checks_for(component.kind):
            reason = expected.get((component.name, check.name))
            marks = () if reason is None else (pytest.mark.xfail(reason=reason, strict=True),)
            cases.append(pytest.param(component, _skipping(check), id=f"{label(component)}-{check.name}", marks=marks))
    _refuse_unknown(expected, components)
    return pytest.mark.parametrize(("component", "check"), cases)


def _skipping(check: Check) -> Any:
    @functools.wraps(check.__call__)
    def run(component: Component) -> None:
        import pytest

        __tracebackhide__ = True
        try:
            check(component)
        except CheckSkipped as reason:
            pytest.skip(str(reason))

    run.__name__ = check.name
    return run


def _refuse_unknown(expected: Mapping[tuple[str, str], str], components: Sequence[Component]) -> None:
    known = {(component.name, check.name) for component in components for check in checks_for(component.kind)}
    for pair in expected:
        if pair not in known:
            raise ValueError(f"expected_failures names {pair}, but no such component and check are parametrized here")
