"""The two tokenizers of a report, found by what a user calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tide_specs import Architecture, ConfigError, DataError, Role, TextTokenizer, TideError

from ..blame import blame
from ..inspection import find_model
from ..registry import Registry
from ..saved_students import DEFAULT_ARCHITECTURE, student_architecture
from ..yaml_source import parse_value

KINDS = "a tokenizer's directory, a .gguf file, a hub name (owner/name), package:NAME or a run folder"


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of the comparison: what the user called it, and its tokenizer."""

    source: str
    tokenizer: TextTokenizer


def named_side(source: str, option: str, role: Role, registry: Registry, *, trust_remote_code: bool = False) -> Side:
    """Return the tokenizer that ``source`` names; errors name the ``option`` that it was given with.

    ``source``: what an architecture takes a tokenizer from, a run folder, or a mapping in YAML that is an architecture with its
    options. Raises ``ConfigError``, ``DataError`` or ``UnavailableError``.
    """
    try:
        architecture = _architecture(source, registry)
        tokenizer = _tokenizer(architecture, role, registry, trust_remote_code=trust_remote_code)
    except TideError as error:
        error.args = (f"{option} {source}: {error}",)
        raise
    return Side(source=source, tokenizer=tokenizer)


def side_of(architecture: Architecture, role: Role, registry: Registry, *, trust_remote_code: bool = False) -> Side:
    """Return the tokenizer of one of a run's models."""
    for option in ("tokenizer_from", "model"):
        if isinstance(source := getattr(architecture, option, None), str):
            break
    else:
        source = architecture.name
    return Side(source=source, tokenizer=_tokenizer(architecture, role, registry, trust_remote_code=trust_remote_code))


def _tokenizer(architecture: Architecture, role: Role, registry: Registry, *, trust_remote_code: bool) -> TextTokenizer:
    from ..assembly import describer, tokenizer_of

    with blame(architecture, "while its tokenizer was loaded", describer(registry)):
        return tokenizer_of(architecture, role, trust_remote_code=trust_remote_code)


def _architecture(source: str, registry: Registry) -> Architecture:
    if source.lstrip().startswith("{"):
        return registry.build("architecture", architecture_mapping(source))
    path = Path(source)
    if path.is_dir() and (found := find_model(source)).run is not None:
        return student_architecture(found, registry)
    if not path.exists() and not source.startswith("package:") and source.strip("./~").count("/") != 1:
        raise DataError(f"no such file or directory; name {KINDS}")
    if path.is_file() and path.suffix != ".gguf":
        raise DataError(f"is a file, and not a .gguf file; name {KINDS}")
    # A tokenizer does not depend on the type and the sizes of the model that uses it, but a component needs a type.
    model = {"config": {"model_type": "llama"}, "form": "autoregressive"}
    return registry.build("architecture", {"name": DEFAULT_ARCHITECTURE, **model, "tokenizer_from": source})


def architecture_mapping(source: str) -> Mapping[str, Any]:
    """Read an architecture with its options, given as YAML. Raises ``ConfigError``."""
    try:
        value = parse_value(source)
    except yaml.YAMLError as error:
        raise ConfigError(f"is not valid YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(value, Mapping):
        raise ConfigError("is not a mapping; write e.g. '{name: huggingface, model: ./student}'")
    return value
