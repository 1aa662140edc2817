"""The kit is tested by mutation: every deliberately wrong component is caught by the check that is meant for it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from kit_mutation import Mutant

FILES = sorted(path.stem for path in Path(__file__).parent.glob("mutants_*.py"))
MUTANTS: list[Mutant] = [mutant for name in FILES for mutant in importlib.import_module(name).MUTANTS]


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutant_is_caught_by_its_check(mutant: Mutant) -> None:
    message = mutant.verdict()
    assert mutant.matches(message), message
    assert len(message) < 500, "one or two sentences"


def test_there_are_at_least_forty_mutants() -> None:
    assert len({type(mutant.component) for mutant in MUTANTS}) >= 40
