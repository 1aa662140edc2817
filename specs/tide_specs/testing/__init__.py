"""Conformance checks that a plugin author runs: what each kind's contract promises, held against a component.

With pytest::

    from tide_specs.testing import parametrize_with_checks

    @parametrize_with_checks([MyLoss(), MyLoss(temperature=5)])
    def test_conformance(component, check):
        check(component)

Without it: ``run_checks(MyLoss())``, or ``tide plugin check``. Importing this package imports neither torch nor pytest.
"""

from .catalogue import Check, checks_for
from .outcome import CheckFailed, CheckSkipped
from .parametrize import parametrize_with_checks
from .runner import CheckResult, run_checks

__all__ = [
    "Check",
    "CheckFailed",
    "CheckResult",
    "CheckSkipped",
    "checks_for",
    "parametrize_with_checks",
    "run_checks",
]
