"""The checks: one module for each kind, and ``common`` for all of them.

Every public function ``check_*`` takes a component, and raises ``CheckFailed`` (what is wrong, what to do) or
``CheckSkipped``. ``exercise`` calls the component's methods once, for the checks that look at side effects.
Numerical tolerances are named constants at the top of each module.
"""
