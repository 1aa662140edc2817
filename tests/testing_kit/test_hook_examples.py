"""Each hook's docstring holds a complete plugin: it is extracted, imported, and held against the conformance kit."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest

from tide_core.registry import Registry
from tide_specs import COMPONENT_HOOKS, ComponentHooks, LifecycleHooks
from tide_specs.testing import run_checks

HOOKS = {
    name: getattr(owner, name) for owner in (ComponentHooks, LifecycleHooks) for name in dir(owner) if "tide_" in name
}


def example_of(hook: str) -> str:
    """The Python code in a hook's docstring."""
    (code,) = re.findall(r"```python\n(.*?)```", inspect.getdoc(HOOKS[hook]) or "", re.DOTALL)
    return code


@pytest.mark.parametrize("hook", HOOKS)
def test_example_conforms(hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / f"example_of_{hook}.py"
    file.write_text(example_of(hook), encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    registry = Registry.discover([str(file)], environment={"TIDE_LOAD_PLUGINS": ""}, builtin=())
    (record,) = [record for record in registry.plugins if record.name == file.stem]
    assert record.skipped is None
    assert record.notes == ()
    (cls,) = record.components
    try:
        results = run_checks(cls())
    finally:
        del sys.modules[file.stem]
    failed = [f"{result.check}: {result.message}" for result in results if result.status == "failed"]
    assert not failed


@pytest.mark.parametrize("hook", HOOKS)
def test_example_implements_its_hook(hook: str) -> None:
    assert re.search(rf"@hookimpl\n\s*def {hook}\(", example_of(hook))


def test_every_kind_has_an_example() -> None:
    assert set(COMPONENT_HOOKS.values()) <= set(HOOKS)
