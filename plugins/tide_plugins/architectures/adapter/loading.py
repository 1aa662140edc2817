"""From a component to a verified denoiser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch

from tide_specs import CheckpointError, ConfigError, Role, Runtime, TextTokenizer, UnavailableError

from ..huggingface import HuggingFace
from .denoiser import TransformersDenoiser, denoiser
from .files import check_source
from .interface import IMPLEMENTATION, register
from .network import Network
from .saving import record_of
from .tokens import fit_vocabulary, load_tokenizer, split_gguf


def load(component: HuggingFace, role: Role, runtime: Runtime) -> TransformersDenoiser:
    """Load or initialise the model, check that the layout decides everything, and wrap it."""
    register()
    if reason := component.serves(role):
        raise UnavailableError(f"huggingface as {role}: {reason}")
    tokenizer = component.tokenizer(role)
    # A student's float32 master weights: at small learning rates most bfloat16 weights would never move.
    dtype = torch.float32 if role == "student" else runtime.dtype
    if component.config is not None:
        model = initialise(component, tokenizer, dtype, runtime.seed)
    else:
        model = pretrained(component, dtype, trust_remote_code=runtime.trust_remote_code)
        fit_vocabulary(model, tokenizer, native_size(component, tokenizer))
    model.to(runtime.device)
    # A padding_idx keeps the row from learning, and the padding token is often the end-of-turn token.
    model.get_input_embeddings().padding_idx = None
    prepare(component, model, role, runtime)
    network = Network(model, runtime.attention)
    from .probe import verify

    verify(network, component, role)
    return denoiser(network, tokenizer, record_of(component, tokenizer))


def prepare(component: HuggingFace, model: Any, role: Role, runtime: Runtime) -> None:
    """Set what is trainable, and the mode."""
    if role == "teacher":
        model.requires_grad_(False)
        model.eval()
        return
    freeze(model, component.freeze)
    model.train()
    if runtime.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})


def freeze(model: Any, patterns: tuple[str, ...]) -> None:
    """Exclude the parameters that match a pattern from training. Raises ``ConfigError`` when one matches nothing."""
    for pattern in patterns:
        matches = [p for name, p in model.named_parameters() if fnmatchcase(name, pattern)]
        if not matches:
            some = ", ".join(name for name, _ in list(model.named_parameters())[:3])
            raise ConfigError(f"huggingface: freeze pattern {pattern!r} matches no parameter; names look like {some}")
        for parameter in matches:
            parameter.requires_grad_(False)


def initialise(component: HuggingFace, tokenizer: TextTokenizer, dtype: torch.dtype, seed: int) -> Any:
    """Return a model with random weights that depend on ``seed`` alone."""
    config = made_config(component, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(config).from_config(config, attn_implementation=IMPLEMENTATION, dtype=dtype)


def made_config(component: HuggingFace, tokenizer: TextTokenizer) -> Any:
    """Return the transformers configuration that the component's ``config`` describes."""
    from transformers import AutoConfig

    given = dict(component.config or {})
    model_type = given.pop("model_type")
    multiple = component.pad_vocabulary_to
    rows = -(-tokenizer.vocabulary_size // multiple) * multiple
    special = {
        "vocab_size": rows,
        "bos_token_id": None,
        "eos_token_id": tokenizer.end_of_turn_token_id,
        # The library freezes and zeroes this row, and the padding token is often the end-of-turn token.
        "pad_token_id": tokenizer.pad_token_id if model_type in _COUNTS_FROM_PADDING else None,
    }
    try:
        config: Any = AutoConfig.for_model(model_type, **{**special, **given})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"huggingface: config of model_type {model_type!r}: {error}") from error
    if config.vocab_size < tokenizer.vocabulary_size:
        raise ConfigError(
            f"huggingface: config.vocab_size is {config.vocab_size}, but the tokenizer has {tokenizer.vocabulary_size} ids"
        )
    _adjust(config, component)
    return config


_COUNTS_FROM_PADDING = (
    "roberta",
    "camembert",
    "xlm-roberta",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "data2vec-text",
)


def _adjust(config: Any, component: HuggingFace) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise UnavailableError(
            f"model_type {config.model_type!r} is an encoder-decoder: TIDE needs one stack that reads text"
        )
    if component.dropout == "off":
        for name, value in config.to_dict().items():
            if ("drop" in name or name.endswith("_pdrop")) and isinstance(value, float):
                setattr(config, name, 0.0)


def model_class(config: Any) -> Any:
    """Return the auto class that serves the configuration: what its checkpoint names, or masked before causal."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED,
    )

    kind = config.model_type
    named = (getattr(config, "architectures", None) or [""])[0]
    remote = getattr(config, "auto_map", None) or {}
    if (named and named == CAUSAL.get(kind)) or "AutoModelForCausalLM" in remote:
        return AutoModelForCausalLM
    if kind in MASKED or "AutoModelForMaskedLM" in remote:
        return AutoModelForMaskedLM
    if kind in CAUSAL:
        return AutoModelForCausalLM
    raise UnavailableError(f"model_type {kind!r}: transformers has neither a causal nor a masked language model of it")


def read_config(component: HuggingFace, *, trust_remote_code: bool) -> Any:
    """Return the configuration of the pretrained model."""
    from transformers import AutoConfig

    folder, gguf = split_gguf(str(component.model))
    extra = {} if gguf is None else {"gguf_file": gguf}
    with _explained(str(component.model)):
        config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, **extra)
    _adjust(config, component)
    return config


def pretrained(component: HuggingFace, dtype: torch.dtype, *, trust_remote_code: bool) -> Any:
    """Return the pretrained model. Raises ``CheckpointError`` naming the file or the weights that are wrong."""
    source = str(component.model)
    check_source(source, trust_remote_code=trust_remote_code)
    config = read_config(component, trust_remote_code=trust_remote_code)
    folder, gguf = split_gguf(source)
    extra: dict[str, Any] = {"use_safetensors": True} if gguf is None else {"gguf_file": gguf}
    with _explained(source):
        model, report = model_class(config).from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=IMPLEMENTATION,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            **extra,
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{source}: {len(missing)} weights are missing, first {missing[0]!r}: it is not a complete "
            f"{type(model).__name__}"
        )
    return model


@contextmanager
def _explained(source: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise CheckpointError(f"{source}: {str(error).strip().splitlines()[0]}") from error


def native_size(component: HuggingFace, tokenizer: TextTokenizer) -> int:
    """Return how many ids the tokenizer had before TIDE added to it."""
    if tokenizer.mask_token_id is None or component.denoiser_form == "autoregressive":
        return tokenizer.vocabulary_size
    source = component.tokenizer_from or str(component.model)
    return load_tokenizer(source, mask_token=None, add_mask_token=False).vocabulary_size


def plan(component: HuggingFace) -> dict[str, Any]:
    """Return parameter counts and sizes; the model exists on the meta device only."""
    if component.config is not None:
        config = made_config(component, component.tokenizer("student"))
    else:
        check_source(str(component.model), trust_remote_code=False)
        config = read_config(component, trust_remote_code=False)
    register()
    with torch.device("meta"):
        model = model_class(config).from_config(config, attn_implementation=IMPLEMENTATION)
    freeze(model, component.freeze)
    parameters = list(model.parameters())
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "hidden_size": config.hidden_size,
        "layers": config.num_hidden_layers,
        "vocabulary": int(model.get_output_embeddings().weight.shape[0]),
    }
