"""Which checks each kind has. Read from the sources of the check modules, so that listing them imports no torch."""

from __future__ import annotations

import ast
import functools
import importlib
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tide_specs.component import Component
from tide_specs.hooks import COMPONENT_HOOKS

from .outcome import CheckFailed, CheckSkipped

COMMON = "common"
"""Name of the module whose checks apply to every kind."""


@dataclass(frozen=True)
class Check:
    """One check: call it with a component; it raises ``CheckFailed`` or ``CheckSkipped``."""

    module: str
    name: str
    summary: str

    def __call__(self, component: Component) -> None:
        """Run the check. An exception that the component raises counts as a failure and is reported as one."""
        absent = [name for name in component.requires if find_spec(name) is None]
        if absent and self.module != COMMON:
            raise CheckSkipped(f"it requires {', '.join(absent)}, which is not installed")
        try:
            self.function()(component)
        except (CheckFailed, CheckSkipped):
            raise
        except Exception as error:
            raise CheckFailed(_describe(component, error)) from error

    def function(self) -> Callable[[Component], None]:
        """Import the check's module (torch included, where it needs it) and return the check."""
        module = importlib.import_module(f"{__package__}.checks.{self.module}")
        found: Callable[[Component], None] = getattr(module, self.name)
        return found


@functools.cache
def _module_checks(module: str) -> tuple[Check, ...]:
    path = Path(__file__).parent / "checks" / f"{module}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("check_")]
    return tuple(Check(module, node.name, (ast.get_docstring(node) or "").split("\n\n")[0]) for node in found)


def checks_for(kind: str) -> tuple[Check, ...]:
    """Return the checks of one kind, those that every kind shares first."""
    modules = [COMMON, *(_modules_of(kind) if kind in COMPONENT_HOOKS else ())]
    return tuple(check for module in modules for check in _module_checks(module))


def _modules_of(kind: str) -> list[str]:
    """The modules of a kind: the one of its name, and its further parts, such as ``architecture_session``."""
    found = sorted(path.stem for path in (Path(__file__).parent / "checks").glob(f"{kind}*.py"))
    return [name for name in found if name == kind or name.startswith(f"{kind}_")]


def _describe(component: Component, error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = {getattr(sys.modules.get(cls.__module__), "__file__", None) for cls in type(component).__mro__}
    kit = str(Path(__file__).parent)
    outside = [frame for frame in frames if not frame.filename.startswith(kit)]
    frame = ([frame for frame in frames if frame.filename in own] or outside or list(frames))[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    said: Any = str(error).strip() or "no message"
    return f"{type(component).__name__} raised {type(error).__name__} ({where}): {said}; it must handle this input."
