"""What can be known of a component's files and options before anything heavy is read."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from tide_specs import ConfigError

from ..huggingface import HuggingFace
from .files import check_source, refuse_missing


def check(component: HuggingFace, *, trust_remote_code: bool) -> None:
    """Raise for files that are missing or broken, for code that must not run, and for unknown model types and options."""
    if component.tokenizer_from is not None:
        refuse_missing(component.tokenizer_from)
    if component.model is not None:
        check_source(component.source, trust_remote_code=trust_remote_code)
    if component.config is not None:
        check_options(component.config)


def check_options(given: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` for a model type that transformers lacks, or an option that looks like a misspelt one.

    The library takes any option and ignores those it does not know. Old names and those of remote code must pass, so that
    only what resembles a known one is refused.
    """
    from transformers import CONFIG_MAPPING

    model_type = str(given["model_type"])
    if model_type not in CONFIG_MAPPING:
        close = get_close_matches(model_type, list(CONFIG_MAPPING), 3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise ConfigError(f"config.model_type: transformers knows no model type {model_type!r}{hint}")
    family: Any = CONFIG_MAPPING[model_type]
    known = {"model_type", *dir(family), *getattr(family, "__dataclass_fields__", {}), *family.attribute_map}
    for option in given:
        close = [] if option in known else get_close_matches(option, known, 1, 0.85)
        if close:
            raise ConfigError(
                f"config.{option}: model type {model_type!r} has no such option; did you mean {close[0]!r}?"
            )
