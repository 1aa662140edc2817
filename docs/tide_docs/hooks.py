"""Hooks and their exact signatures, from ``tide_specs.hooks``."""

from __future__ import annotations

import inspect

from tide_specs import COMPONENT_HOOKS, ComponentHooks, LifecycleHooks

from .catalogue import TITLES
from .markdown import code, fence, link, table


def signature(owner: type, hook: str, *, method: bool) -> str:
    """``def hook(...) -> ...`` as a plugin writes it."""
    found = inspect.signature(getattr(owner, hook))
    parameters = list(found.parameters.values())[0 if method else 1 :]
    annotation = str(found.return_annotation)
    arguments = ", ".join(p.name if p.name == "self" else f"{p.name}: {p.annotation}" for p in parameters)
    return f"def {hook}({arguments}) -> {annotation}"


def component_hook(page: str, kind: str) -> str:
    """The hook of one kind."""
    return fence(f"@hookimpl\n{signature(ComponentHooks, COMPONENT_HOOKS[kind], method=False)}: ...", "python")


def example(page: str, kind: str) -> str:
    """The complete plugin in the docstring of a kind's hook."""
    documented = inspect.cleandoc(getattr(ComponentHooks, COMPONENT_HOOKS[kind]).__doc__ or "")
    return documented[documented.index("```python") :]


def all_hooks(page: str) -> str:
    """Every component hook with the page of its kind."""
    rows = [
        (f"[{TITLES[kind].lower()}]({link(page, f'kinds/{kind}.md')})", code(hook), _offers(hook))
        for kind, hook in COMPONENT_HOOKS.items()
    ]
    return table(("kind", "hook", "returns"), rows)


def _offers(hook: str) -> str:
    return code(str(inspect.signature(getattr(ComponentHooks, hook)).return_annotation))


def lifecycle_hooks(page: str) -> str:
    """Every lifecycle hook, in the order of a run."""
    parts: list[str] = []
    for name in vars(LifecycleHooks):
        if name.startswith("tide_"):
            says = inspect.cleandoc(getattr(LifecycleHooks, name).__doc__ or "")
            parts += [
                f"### {name}",
                says,
                fence(f"@hookimpl\n{signature(LifecycleHooks, name, method=True)}: ...", "python"),
            ]
    return "\n\n".join(parts)
