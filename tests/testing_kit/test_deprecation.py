"""Deprecated names warn, and fail this suite when the version that removes them has come."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import ClassVar

import pytest
from kit_correct import KitLinear

from tide_core import __version__
from tide_core.registry import Registry
from tide_specs import COMPONENT_HOOKS
from tide_specs.deprecation import (
    Deprecated,
    TideDeprecationWarning,
    deprecated_names,
    overdue,
    parse_version,
    removal_version,
)
from tide_specs.deprecation import _names as registered


class Retiring(KitLinear):
    """alpha = 1 - t, by its old name."""

    deprecated: ClassVar[str | None] = "removed in 0.9; use linear"


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr("tide_specs.deprecation._names", {})
    module = ModuleType("renamed")
    module.__getattr__ = deprecated_names("renamed", {"Old": Deprecated(KitLinear, "renamed.New", "0.4")})
    monkeypatch.setitem(sys.modules, "renamed", module)
    return module


def test_an_old_name_works_and_warns_at_the_line_that_uses_it(renamed: ModuleType) -> None:
    with pytest.warns(TideDeprecationWarning, match=r"renamed\.Old is deprecated .* 0\.4; use renamed\.New") as caught:
        assert renamed.Old is KitLinear
    assert caught[0].filename == __file__


def test_other_names_are_still_missing(renamed: ModuleType) -> None:
    with pytest.raises(AttributeError, match="no attribute 'Odl'"):
        _ = renamed.Odl


@pytest.mark.parametrize(("current", "due"), [("0.3.9", 0), ("0.4", 1), ("0.4.0.dev1", 1), ("1.0", 1)])
def test_a_name_is_overdue_from_the_version_that_removes_it(renamed: ModuleType, current: str, due: int) -> None:
    assert len(overdue(current)) == due


def test_a_deprecated_component_is_overdue_too() -> None:
    assert overdue("0.8", [Retiring]) == []
    (sentence,) = [line for line in overdue("0.9", [Retiring]) if "component" in line]
    assert sentence == "component 'kit_linear' was to be removed in 0.9, and this is 0.9: remove it"


def test_a_component_must_name_the_version() -> None:
    class Vague(KitLinear):
        """Soon."""

        deprecated: ClassVar[str | None] = "soon"

    with pytest.raises(ValueError, match="name the version that removes it"):
        removal_version(Vague)


def test_nothing_in_this_version_is_overdue() -> None:
    registry = Registry.discover(environment={"TIDE_LOAD_PLUGINS": ""})
    components = [cls for kind in COMPONENT_HOOKS for cls in registry.classes(kind).values()]
    assert components
    assert overdue(__version__, components) == []
    assert all(parse_version(entry.removed_in) for entry in registered.values())
