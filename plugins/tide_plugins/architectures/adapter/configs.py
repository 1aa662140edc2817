"""Configurations and classes of transformers: from a component's ``config``, or from what lies beside the weights."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tide_specs import CheckpointError, ConfigError, TextTokenizer, UnavailableError

from ..huggingface import HuggingFace

_COUNTS_FROM_PADDING = frozenset(
    {"roberta", "camembert", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "data2vec-text", "xmod"}
)
"""Families whose positions start at ``pad_token_id + 1``, so that the id must stay small."""


def made_config(component: HuggingFace, tokenizer: TextTokenizer) -> Any:
    """Return the configuration that the component's ``config`` describes. Raises ``ConfigError``."""
    given = dict(component.config or {})
    check_options(given)
    model_type = str(given["model_type"])
    multiple = component.pad_vocabulary_to
    end = tokenizer.end_of_turn_token_id
    sized = {"vocab_size": -(-tokenizer.vocabulary_size // multiple) * multiple, "eos_token_id": end}
    # The library zeroes and freezes the padding row, and the padding token is often the end-of-turn token.
    unset = (
        {"bos_token_id": None} if model_type in _COUNTS_FROM_PADDING else {"bos_token_id": None, "pad_token_id": None}
    )
    try:
        config = configure({**sized, **unset, **given})
    except ConfigError:
        # Some families demand these ids.
        config = configure({**sized, "bos_token_id": end, "pad_token_id": tokenizer.pad_token_id, **given})
    if config.vocab_size < tokenizer.vocabulary_size:
        raise ConfigError(
            f"huggingface: config.vocab_size is {config.vocab_size}, but the tokenizer has {tokenizer.vocabulary_size} ids"
        )
    return adjusted(config, component)


def configure(options: Mapping[str, Any]) -> Any:
    """Return the configuration that these options, ``model_type`` among them, describe. Raises ``ConfigError``."""
    from transformers import CONFIG_MAPPING

    given = dict(options)
    model_type = str(given.pop("model_type"))
    try:
        return CONFIG_MAPPING[model_type](**given)
    except Exception as error:  # each family validates in its own way
        raise ConfigError(f"config of model_type {model_type!r}: {first_line(error)}") from error


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


def read_config(component: HuggingFace, *, trust_remote_code: bool) -> Any:
    """Return the configuration of the pretrained model. Raises ``CheckpointError``."""
    from transformers import AutoConfig

    if (family := component.family) is not None:
        with explained(component.source):
            return adjusted(configure(family.native_config(component.settings)), component)
    folder, gguf = split_gguf(component.source)
    extra: dict[str, Any] = {} if gguf is None else {"gguf_file": gguf}
    auto: Any = AutoConfig
    with explained(component.source):
        config: Any = auto.from_pretrained(folder, trust_remote_code=trust_remote_code, **extra)
    return adjusted(config, component)


def adjusted(config: Any, component: HuggingFace) -> Any:
    """Refuse encoder-decoders, and switch dropout off where the component says so."""
    if getattr(config, "is_encoder_decoder", False):
        raise UnavailableError(
            f"model_type {config.model_type!r} is an encoder-decoder: TIDE needs one stack that reads the text"
        )
    if component.dropout == "off":
        for name, value in config.to_dict().items():
            if ("drop" in name or name.endswith("_pdrop")) and isinstance(value, float):
                setattr(config, name, 0.0)
    return config


def model_class(config: Any) -> Any:
    """Return the auto class that serves the configuration: what its checkpoint names, else masked before causal."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED,
    )

    kind = config.model_type
    named: list[str] = getattr(config, "architectures", None) or []
    remote: dict[str, Any] = getattr(config, "auto_map", None) or {}
    if CAUSAL.get(kind) in named or "AutoModelForCausalLM" in remote:
        return AutoModelForCausalLM
    if kind in MASKED or "AutoModelForMaskedLM" in remote:
        return AutoModelForMaskedLM
    if kind in CAUSAL:
        return AutoModelForCausalLM
    raise UnavailableError(f"model_type {kind!r}: transformers has neither a causal nor a masked language model of it")


def split_gguf(source: str) -> tuple[str, str | None]:
    """Return (folder, file name) for a .gguf path, (source, None) for anything else."""
    return (str(Path(source).parent), Path(source).name) if source.endswith(".gguf") else (source, None)


@contextmanager
def explained(source: str) -> Generator[None]:
    """Turn what the library raises while it reads ``source`` into a ``CheckpointError`` of one line."""
    try:
        yield
    except (OSError, ValueError, LookupError, RuntimeError, ImportError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{source}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return an error's text on one line, its type where it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__
