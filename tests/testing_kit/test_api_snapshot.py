"""The public surface of ``tide_specs`` is frozen: a change of it is a decision, made by rewriting the snapshot.

python tests/testing_kit/test_api_snapshot.py      # rewrites api_snapshot.json
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import typing
from pathlib import Path
from typing import Any

import tide_specs
import tide_specs.testing
from tide_specs import Component, ComponentHooks, LifecycleHooks

SNAPSHOT = Path(__file__).parent / "api_snapshot.json"


def surface() -> dict[str, Any]:
    """Name -> what a plugin may rely on: signatures, options, fields, values."""
    made = {name: described(getattr(tide_specs, name)) for name in sorted(tide_specs.__all__)}
    made.update(
        {f"testing.{name}": described(getattr(tide_specs.testing, name)) for name in tide_specs.testing.__all__}
    )
    return made


def described(thing: Any) -> Any:
    if isinstance(thing, type):
        return described_class(thing)
    if typing.get_origin(thing) is not None:  # an alias, e.g. Callable[[SamplingStep], None]
        return str(thing)
    if callable(thing) and hasattr(thing, "__name__"):
        return str(inspect.signature(thing))
    if isinstance(thing, str | dict):
        return thing
    return type(thing).__name__ if hasattr(thing, "project_name") else str(thing)


def described_class(cls: type[Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"bases": [base.__name__ for base in cls.__bases__]}
    if issubclass(cls, Component):
        facts["options"] = {name: f"{info.annotation} = {info.default!r}" for name, info in cls.model_fields.items()}
    elif dataclasses.is_dataclass(cls):
        facts["fields"] = {field.name: f"{field.type}{default_of(field)}" for field in dataclasses.fields(cls)}
    elif issubclass(cls, enum.Enum):
        facts["values"] = {member.name: member.value for member in cls}
    methods = {name: signature_of(cls, name) for name in public_names(cls)}
    return facts | ({"methods": methods} if methods else {})


def default_of(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f" = {field.default!r}"
    return "" if field.default_factory is dataclasses.MISSING else " = (made)"


def public_names(cls: type[Any]) -> list[str]:
    names = dir(cls) if cls in (ComponentHooks, LifecycleHooks) else vars(cls)
    kept = (name for name in names if not name.startswith(("_", "model_")) or name == "__init__")
    return sorted(name for name in kept if signature_of(cls, name))


def signature_of(cls: type[Any], name: str) -> str:
    member = inspect.getattr_static(cls, name)
    if isinstance(member, property):
        return f"property -> {inspect.signature(member.fget).return_annotation}"
    if isinstance(member, classmethod | staticmethod):
        member = member.__func__
    if dataclasses.is_dataclass(cls) and name == "__init__":
        return ""
    return str(inspect.signature(member)) if inspect.isfunction(member) else ""


def test_the_public_surface_is_as_recorded() -> None:
    recorded, now = json.loads(SNAPSHOT.read_text(encoding="utf-8")), json.loads(json.dumps(surface()))
    changed = sorted(name for name in recorded.keys() | now.keys() if recorded.get(name) != now.get(name))
    assert not changed, (
        f"the public surface changed: {', '.join(changed)}. Removing or changing something breaks plugins and raises the "
        "contract's MAJOR version, adding raises MINOR; then rewrite the snapshot: python tests/testing_kit/test_api_snapshot.py"
    )


def test_everything_public_is_documented() -> None:
    silent = [
        name
        for name in tide_specs.__all__
        if isinstance(getattr(tide_specs, name), type) and not inspect.getdoc(getattr(tide_specs, name))
    ]
    assert not silent


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(surface(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
