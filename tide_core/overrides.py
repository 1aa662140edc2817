"""``--set a.b[0].c=VALUE``: change one value of a run from the command line. Values are parsed like those of a run file."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import yaml

from tide_specs import ConfigError

from .yaml_source import Place, Source, parse_value

PART = re.compile(r"(?:^|\.)([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]")
EMPTY: Mapping[str, Any] = MappingProxyType({})


def apply_override(source: Source, text: str, defaults: Mapping[str, Any] = EMPTY) -> None:
    """Change ``source.data`` as ``text`` says; raise ``ConfigError`` naming the override.

    ``defaults``: what sections hold that the file leaves out, so that parts of them can be set.
    """
    path, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"--set {text}: write  --set PATH=VALUE, e.g. --set training.steps=50")
    place = parse_path(path.strip(), f"--set {text}")
    try:
        parsed = parse_value(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not valid YAML: {getattr(error, 'problem', error)}") from None
    put(source.data, place, parsed, f"--set {text}", defaults)
    # A later override of an enclosing part replaces what earlier ones put into it.
    for old in [old for old in source.overridden if old[: len(place)] == place]:
        del source.overridden[old]
    source.overridden[place] = text


def put(data: dict[str, Any], place: Place, value: Any, origin: str, defaults: Mapping[str, Any] = EMPTY) -> None:
    """Change one value of a run's data; raise ``ConfigError`` that begins with ``origin`` when it has no such place."""
    section = str(place[0])
    if len(place) > 1 and section not in data and section in defaults:
        data[section] = copy.deepcopy(defaults[section])
    here: Any = data
    for depth, part in enumerate(place[:-1]):
        here = _enter(here, part, place[depth + 1], origin)
    _put(here, place[-1], value, origin)


def parse_path(path: str, origin: str) -> Place:
    """``losses[1].temperature`` -> ``("losses", 1, "temperature")``; ``origin`` begins the message of an error."""
    parts: list[str | int] = []
    position = 0
    while position < len(path):
        match = PART.match(path, position)
        if match is None:
            break
        parts.append(match.group(1) if match.group(1) is not None else int(match.group(2)))
        position = match.end()
    if not parts or position < len(path) or not isinstance(parts[0], str):
        raise ConfigError(f"{origin}: '{path}' is no path; write it like losses[0].temperature")
    return tuple(parts)


def _enter(here: Any, part: str | int, following: str | int, origin: str) -> Any:
    """Step into ``part`` of ``here``; a component's bare name becomes a mapping, a missing section an empty one."""
    if isinstance(part, int):
        _check_index(here, part, origin, limit=len(here) - 1 if isinstance(here, list) else 0)
    elif not isinstance(here, dict):
        raise ConfigError(f"{origin}: '{part}' cannot be set inside {here!r}")
    elif here.get(part) is None:
        here[part] = [] if isinstance(following, int) else {}
    container: Any = here
    inner = container[part]
    if isinstance(inner, str) and isinstance(following, str):
        container[part] = {"name": inner}
    elif isinstance(inner, dict | list):
        container[part] = inner.copy()  # an alias may share it with another place of the file
    return container[part]


def _put(here: Any, part: str | int, value: Any, origin: str) -> None:
    if isinstance(part, str):
        if not isinstance(here, dict):
            raise ConfigError(f"{origin}: '{part}' cannot be set inside {here!r}")
        here[part] = value
        return
    _check_index(here, part, origin, limit=len(here) if isinstance(here, list) else 0)
    if part == len(here):
        here.append(value)
    else:
        here[part] = value


def _check_index(here: Any, index: int, origin: str, *, limit: int) -> None:
    if not isinstance(here, list):
        raise ConfigError(f"{origin}: [{index}] needs a list, but there is {here!r}")
    if index > limit:
        raise ConfigError(f"{origin}: there is no [{index}]; the list has {len(here)} items")
