"""What makes a class a component: the checks every contributed class must pass before anybody can use it."""

from __future__ import annotations

import inspect
import re
from typing import Any, Literal, get_args, get_origin

import tide_specs
from tide_specs import COMPONENT_HOOKS, Component, PluginError

BASES: dict[str, type[Component]] = {
    "architecture": tide_specs.Architecture,
    "attention": tide_specs.AttentionBackend,
    "alignment": tide_specs.Alignment,
    "schedule": tide_specs.NoiseSchedule,
    "corruption": tide_specs.Corruption,
    "loss": tide_specs.Loss,
    "interpolation": tide_specs.Interpolation,
    "weighting": tide_specs.TeacherWeighting,
    "teacher_view": tide_specs.TeacherView,
    "sampler": tide_specs.Sampler,
    "dataset": tide_specs.Dataset,
    "evaluator": tide_specs.Evaluator,
    "observer": tide_specs.Observer,
    "launcher": tide_specs.Launcher,
    "recipe": tide_specs.Recipe,
}
"""Kind -> the base class of its components."""

NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]*")
LOSS_BASES = (
    tide_specs.SelfLoss,
    tide_specs.TokenLoss,
    tide_specs.ChunkLoss,
    tide_specs.DistributionLoss,
    tide_specs.FeatureLoss,
)


def check_component(kind: str, offered: object) -> type[Component]:
    """Return ``offered`` as a component class of ``kind``; raise ``PluginError`` saying which rule it breaks."""
    hook = COMPONENT_HOOKS[kind]
    if not isinstance(offered, type):
        raise PluginError(f"hook '{hook}' returned {offered!r}, which is no class; return classes, not instances")
    label = f"class '{offered.__name__}' (from hook '{hook}')"
    cls = _of_kind(kind, offered, label)
    _check_complete(cls, label)
    _check_name(cls, label)
    _check_frozen(cls, label)
    _check_documented(cls, label)
    return cls


def _of_kind(kind: str, offered: type[Any], label: str) -> type[Component]:
    base = BASES[kind]
    if not issubclass(offered, base):
        raise PluginError(f"{label} is no {base.__name__}; subclass tide_specs.{base.__name__}{_other_kind(offered)}")
    if kind == "loss" and not issubclass(offered, LOSS_BASES):
        raise PluginError(f"{label} subclasses Loss directly; subclass {_bases()}")
    return offered


def _other_kind(offered: type[Any]) -> str:
    for kind, base in BASES.items():
        if issubclass(offered, base):
            return f", or return it from '{COMPONENT_HOOKS[kind]}'"
    return ""


def _check_complete(cls: type[Component], label: str) -> None:
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"{label} does not implement {', '.join(f'{name}()' for name in missing)}")


def _check_name(cls: type[Component], label: str) -> None:
    field = cls.model_fields["name"]
    name = field.default
    if (
        not isinstance(name, str)
        or get_origin(field.annotation) is not Literal
        or get_args(field.annotation) != (name,)
    ):
        raise PluginError(f'{label} has no fixed name; write  name: Literal["my_name"] = "my_name"')
    if not NAME_PATTERN.fullmatch(name):
        raise PluginError(f"{label} is called {name!r}; use lower-case letters, digits and underscores")


def _check_frozen(cls: type[Component], label: str) -> None:
    if not cls.model_config.get("frozen"):
        raise PluginError(
            f"{label} is not frozen; a component holds options, never state: keep the base's model_config"
        )
    if cls.model_config.get("extra") != "forbid":
        raise PluginError(f"{label} accepts unknown options, so a misspelt one would be ignored; keep extra='forbid'")


def _check_documented(cls: type[Component], label: str) -> None:
    if not inspect.cleandoc(cls.__dict__.get("__doc__") or "").strip():
        raise PluginError(f"{label} has no docstring; its first line is what 'tide components' shows")
    silent = [name for name, field in cls.model_fields.items() if name != "name" and not field.description]
    if silent:
        raise PluginError(f"{label} does not describe {', '.join(silent)}; write  Field(default, description=...)")


def _bases() -> str:
    """Return the base classes of losses as one would say them."""
    names = [base.__name__ for base in LOSS_BASES]
    return f"{', '.join(names[:-1])} or {names[-1]}"
