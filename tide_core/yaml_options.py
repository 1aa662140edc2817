"""Component options written as YAML on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from tide_specs import ConfigError


def read_options(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return each text's mapping; raise ``ConfigError`` when one is no mapping with a name."""
    found: list[dict[str, Any]] = []
    for text in texts:
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--with {text}: not YAML ({error})") from None
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise ConfigError(f"--with {text}: write a mapping with a name, such as '{{name: my_data, path: x.jsonl}}'")
        found.append(value)
    return found
