"""A run file as read: its data, and the line of every part of it.

The node tree is composed once; data is built from it, and lines are looked up in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tide_specs import ConfigError

Place = tuple[str | int, ...]
"""Where something is in a run: ``("losses", 1, "temperature")``."""

MERGE = "tag:yaml.org,2002:merge"


class RunLoader(yaml.SafeLoader):
    """YAML's safe loader with the scalars of YAML 1.2: ``5e-5`` is a number; ``on``, ``no`` and dates are words."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+",
        "-+.0123456789",
    ),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    RunLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def parse_value(text: str) -> Any:
    """Parse a value as a run file would; raises ``yaml.YAMLError``."""
    return yaml.load(text, Loader=RunLoader)


def path_text(place: Sequence[str | int]) -> str:
    """``("losses", 1, "temperature")`` -> ``losses[1].temperature``."""
    out = ""
    for part in place:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


class Source:
    """Where the parts of a run come from: lines of a file, command-line overrides, or defaults."""

    def __init__(self, file: str, node: yaml.Node | None = None, data: dict[str, Any] | None = None) -> None:
        self.file = file
        self.data: dict[str, Any] = data if data is not None else {}
        self.overridden: dict[Place, str] = {}
        """Place -> the override as it was typed."""
        self._node = node

    @property
    def directory(self) -> Path:
        """The folder that relative paths in the file start from."""
        return Path(self.file).parent

    def override_of(self, place: Sequence[str | int]) -> str | None:
        """Return the override that supplied ``place``, or the part of the run that holds it."""
        for length in range(len(place), 0, -1):
            if tuple(place[:length]) in self.overridden:
                return self.overridden[tuple(place[:length])]
        return None

    def line(self, place: Sequence[str | int]) -> int | None:
        """Return the line of ``place``, or of the nearest part of the file that encloses it."""
        node, line = self._node, None
        for part in place:
            key, node = _child(node, part)
            if node is None:
                break
            line = (key or node).start_mark.line + 1
        return line

    def where(self, place: Sequence[str | int]) -> str:
        """``run.yaml:14``, or ``--set training.steps=0`` for what an override supplied."""
        override = self.override_of(place)
        if override is not None:
            return f"--set {override}"
        line = self.line(place)
        if line is not None:
            return f"{self.file}:{line}"
        inside = [text for where, text in self.overridden.items() if where[: len(place)] == tuple(place)]
        return f"--set {inside[0]}" if inside and place else self.file


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Return the key node (mappings only) and the value node of one part of a node."""
    if isinstance(node, yaml.MappingNode):
        # The last match: merged keys come first, and a file's own key overrides them.
        for key, value in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value == part:
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        return None, node.value[part]
    return None, None


def read_source(path: str | Path) -> Source:
    """Read a run file. Raises ``ConfigError`` naming file and line of what is not valid YAML, or given twice."""
    file = str(path)
    text = _read(file)
    loader = _loader(text, file)
    try:
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(f"{file}: is empty; 'tide run --help' shows a run file")
        _check_keys(node, file, set(), ())
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_yaml_message(error, file)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: {error}") from None
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise ConfigError(f"{file}:{node.start_mark.line + 1}: a run file is a mapping of sections, e.g.  student: ...")
    return Source(file, node, data)


def _loader(text: str, file: str) -> RunLoader:
    try:
        return RunLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{file}:{line}: holds the character U+{error.character:04X}, which YAML forbids; is it a text file?"
        ) from None


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{file}: is a folder; name a run file (.yaml)") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _check_keys(node: yaml.Node, file: str, seen: set[int], enclosing: tuple[int, ...]) -> None:
    """Refuse keys given twice, keys that are not words, and an alias to an enclosing part."""
    if id(node) in enclosing:
        raise ConfigError(f"{file}:{node.start_mark.line + 1}: contains itself through an alias")
    if id(node) in seen:
        return
    seen.add(id(node))
    inside = (*enclosing, id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, file, seen, inside)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag != MERGE:
                _check_key(key, file, line, lines)
            _check_keys(value, file, seen, inside)


def _check_key(key: yaml.Node, file: str, line: int, lines: dict[str, int]) -> None:
    if key.tag != "tag:yaml.org,2002:str":
        raise ConfigError(f"{file}:{line}: the key {getattr(key, 'value', key)!r} is not a word; quote it")
    if key.value in lines:
        raise ConfigError(f"{file}:{line}: '{key.value}' is given twice; first on line {lines[key.value]}")
    lines[key.value] = line


def _yaml_message(error: yaml.MarkedYAMLError, file: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{file}:{mark.line + 1}" if mark else file
    context = f" ({error.context})" if error.context else ""
    return f"{place}: is not valid YAML: {error.problem}{context}"
