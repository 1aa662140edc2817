"""Checks that every component passes, whatever its kind. Needs no torch."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import re
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from tide_specs.component import Component, Mix
from tide_specs.hooks import COMPONENT_HOOKS
from tide_specs.testing.discovery import heavy_import
from tide_specs.testing.outcome import CheckFailed, CheckSkipped, expect


def check_name(component: Component) -> None:
    """The class has one fixed name, in lower_snake_case, and a kind that TIDE knows."""
    cls = type(component)
    field = cls.model_fields["name"]
    literal = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    expect(
        len(literal) == 1 and literal[0] == field.default,
        f"{cls.__name__}.name is not one fixed name; write name: Literal['my_name'] = 'my_name'.",
    )
    expect(
        re.fullmatch(r"[a-z][a-z0-9_]*", component.name),
        f"the name '{component.name}' is not lower_snake_case; run files need a name such as 'my_loss'.",
    )
    expect(
        cls.kind in COMPONENT_HOOKS,
        f"{cls.__name__}.kind is {cls.kind!r}, which no hook collects; subclass the base class of a kind and leave "
        f"kind alone ({', '.join(COMPONENT_HOOKS)}).",
    )


def check_documented(component: Component) -> None:
    """The class has a docstring and every option a description."""
    cls = type(component)
    expect((cls.__dict__.get("__doc__") or "").strip(), f"{cls.__name__} has no docstring; it is its page in the docs.")
    for option, field in cls.model_fields.items():
        expect(
            option == "name" or (field.description or "").strip(),
            f"option '{option}' of {cls.__name__} has no description; write Field(default, description='...').",
        )


def check_class_facts(component: Component) -> None:
    """``version`` is a positive integer, ``requires`` a tuple of import names, ``deprecated`` a sentence or None."""
    cls = type(component)
    version: Any = cls.version
    expect(
        isinstance(version, int) and not isinstance(version, bool) and version >= 1,
        f"{cls.__name__}.version is {version!r}; it must be an integer of at least 1, raised when the numbers change.",
    )
    requires: Any = cls.requires
    expect(
        type(requires) is tuple and set(map(type, cls.requires)) <= {str},
        f"{cls.__name__}.requires is {requires!r}; it must be a tuple of import names, such as ('xformers',).",
    )
    expect(
        cls.deprecated is None or str(cls.deprecated).strip(),
        f"{cls.__name__}.deprecated is empty; name the version that removes it and its replacement, or leave it None.",
    )


def check_round_trip(component: Component) -> None:
    """Written to YAML and read back, the component is the same; an option that does not exist is refused."""
    import yaml

    cls = type(component)
    plain = _plain(component)
    again = cls.model_validate(yaml.safe_load(yaml.safe_dump(plain)))
    expect(
        again == component and _plain(again) == plain,
        f"{cls.__name__} changes on its way through YAML: {plain} becomes {_plain(again)}; "
        "a validator must accept its own output, and every option must be plain data.",
    )
    try:
        cls.model_validate({**plain, "no_such_option": 1})
    except ValidationError:
        return
    raise CheckFailed(
        f"{cls.__name__} accepts an option that does not exist, so a misspelt one would be ignored silently; "
        "keep extra='forbid' in model_config."
    )


def check_json_schema(component: Component) -> None:
    """The options have a JSON Schema (for editors), and the component's own options satisfy it."""
    cls = type(component)
    schema = cls.model_json_schema()
    try:
        json.dumps(schema, allow_nan=False)
    except ValueError as error:
        raise CheckFailed(
            f"the JSON Schema of {cls.__name__} is not JSON ({error}); give options finite defaults."
        ) from error
    missing = set(cls.model_fields) - set(schema.get("properties", {}))
    expect(not missing, f"the JSON Schema of {cls.__name__} lacks {sorted(missing)}; name options without an alias.")
    try:
        jsonschema: Any = importlib.import_module("jsonschema")
    except ImportError:
        return
    errors = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(_plain(component))]
    expect(
        not errors,
        f"an editor would mark valid options of {cls.__name__} as wrong: {'; '.join(errors)}; "
        "give the option's type a JSON Schema that matches what it accepts.",
    )


def check_light_import(component: Component) -> None:
    """Importing the module that defines the class imports no torch, transformers, datasets or mlflow."""
    module = type(component).__module__
    last = module.rpartition(".")[2]
    if last.startswith("test_") or last in {"conftest", "__main__"}:
        raise CheckSkipped(f"the class is defined in {module}, which no plugin imports")
    found = heavy_import(module)
    expect(
        found is None,
        f"importing {module} imports {found}, which makes every tide command slow; "
        "import it inside the method that needs it, and under TYPE_CHECKING for annotations.",
    )


def check_frozen(component: Component) -> None:
    """Options cannot be changed after construction."""
    cls = type(component)
    for option in cls.model_fields:
        try:
            setattr(component, option, getattr(component, option))
        except (ValidationError, AttributeError, TypeError):
            continue
        raise CheckFailed(
            f"option '{option}' of {cls.__name__} can be changed after construction; keep frozen=True in model_config."
        )
    expect(
        not cls.__private_attributes__,
        f"{cls.__name__} has private attributes {sorted(cls.__private_attributes__)}; "
        "a component is free of state: let a method return an object that holds it.",
    )


def check_keeps_no_state(component: Component) -> None:
    """Using the component leaves no trace on it: state belongs to the objects that its methods return."""
    exercise = importlib.import_module(f"{__package__}.{component.kind}").exercise
    before = _state(component)
    try:
        exercise(component)
    except CheckSkipped:
        raise
    except Exception as error:
        raise CheckSkipped(f"it cannot be used: {error}") from error
    after = _state(component)
    after.update({f"self.{key}": "added" for key in component.__dict__.keys() - type(component).model_fields.keys()})
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    expect(
        not changed,
        f"using {type(component).__name__} changed {', '.join(changed)} on the component, so two runs, or two threads, "
        "would disturb each other; keep state in the object that a method returns.",
    )


def check_picklable(component: Component) -> None:
    """The component reaches worker processes unchanged."""
    try:
        again = pickle.loads(pickle.dumps(component))
    except Exception as error:
        raise CheckFailed(
            f"{type(component).__name__} cannot be pickled ({error}); define it at the top level of a module and "
            "keep every option plain data."
        ) from error
    expect(again == component, f"{type(component).__name__} changes when it is pickled: {component!r} -> {again!r}.")


def check_conflicts(component: Component) -> None:
    """``conflicts`` yields sentences, and copes with a mix that names nothing but this component."""
    for mix in (Mix(), Mix(components={component.kind: (component,)})):
        found: Any = component.conflicts(mix)
        expect(
            not isinstance(found, str),
            f"{type(component).__name__}.conflicts returns a string, which would be read letter by letter; "
            "yield each sentence instead.",
        )
        for sentence in found:
            expect(
                isinstance(sentence, str) and sentence.strip(),
                f"{type(component).__name__}.conflicts yields {sentence!r}; yield one sentence for each reason.",
            )


def _plain(component: Component) -> dict[str, Any]:
    return component.model_dump(mode="json")


def _state(component: Component) -> dict[str, Any]:
    own = {f"self.{key}": copy.deepcopy(value) for key, value in component.__dict__.items()}
    private: dict[str, Any] = getattr(component, "__pydantic_private__", None) or {}
    own.update({f"self.{key}": repr(value) for key, value in private.items()})
    for cls in type(component).__mro__:
        if cls.__module__.startswith(("tide_specs.component", "pydantic", "builtins", "abc")):
            continue
        for key, value in cls.__dict__.items():
            if not key.startswith(("__", "_abc", "model_")) and type(value) in (dict, list, set, int, float):
                own[f"{cls.__name__}.{key}"] = copy.copy(value)
    return own
