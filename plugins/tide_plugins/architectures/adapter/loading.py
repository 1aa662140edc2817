"""From a component to a verified denoiser."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import torch

from tide_specs import CheckpointError, ConfigError, Role, Runtime, TextTokenizer, UnavailableError

from ..huggingface import HuggingFace
from .configs import explained, first_line, made_config, model_class, read_config, split_gguf
from .denoiser import TransformersDenoiser, denoiser
from .files import check_source
from .interface import IMPLEMENTATION, register
from .network import Network
from .probe import verify
from .published import published_class
from .saving import record_of
from .tokens import fit_vocabulary, read_tokenizer


def load(component: HuggingFace, role: Role, runtime: Runtime) -> TransformersDenoiser:
    """Load or initialise the model, check that the layout decides everything, and wrap it."""
    register()
    if reason := component.serves(role):
        raise UnavailableError(f"huggingface as {role}: {reason}")
    if component.model is not None:
        check_source(
            component.source,
            trust_remote_code=runtime.trust_remote_code,
            recognised=component.family is not None,
        )
    tokenizer, native = read_tokenizer(component)
    # A student's float32 master weights: at small learning rates most bfloat16 weights would never move.
    dtype = torch.float32 if role == "student" else runtime.dtype
    if component.config is not None:
        model = initialise(component, tokenizer, dtype, runtime.seed)
    else:
        model = pretrained(component, dtype, trust_remote_code=runtime.trust_remote_code)
        fit_vocabulary(model, tokenizer, native)
    model.to(runtime.device)
    # A padding_idx keeps the row from learning, and the padding token is often the end-of-turn token.
    model.get_input_embeddings().padding_idx = None
    prepare(component, model, role, runtime)
    network = Network(model, runtime.attention)
    verify(network, component)
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
        _checkpoint_gradients(model)


def _checkpoint_gradients(model: Any) -> None:
    # Renamed by transformers; versions 5.0 and later of the library have one name or both.
    enable: Any = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise UnavailableError(f"{type(model).__name__} has no gradient checkpointing: switch it off") from error


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
        return _build(config, dtype)


def _build(config: Any, dtype: torch.dtype) -> Any:
    try:
        return model_class(config).from_config(config, attn_implementation=IMPLEMENTATION, dtype=dtype)
    except (LookupError, ValueError, TypeError, RuntimeError, AttributeError, AssertionError) as error:
        if IMPLEMENTATION not in str(error):
            raise ConfigError(
                f"huggingface: config of model_type {config.model_type!r}: {first_line(error)}"
            ) from error
        raise UnavailableError(
            f"model_type {config.model_type!r} does not use transformers' attention interface: no layout can reach it"
        ) from error


def pretrained(component: HuggingFace, dtype: torch.dtype, *, trust_remote_code: bool) -> Any:
    """Return the pretrained model. Raises ``CheckpointError`` naming the file or the weights that are wrong."""
    source = component.source
    config = read_config(component, trust_remote_code=trust_remote_code)
    folder, gguf = split_gguf(source)
    extra: dict[str, Any] = {"use_safetensors": True} if gguf is None else {"gguf_file": gguf}
    family = component.family
    kind = model_class(config) if family is None else published_class(family, component.settings, config)
    with explained(source):
        model, report = kind.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=IMPLEMENTATION,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            **extra,
        )
    _complain(source, model, report, strict=family is not None)
    if gguf is not None and getattr(model, "hf_quantizer", None) is not None:
        # The weights are plain numbers by now; while it passes for quantized, transformers refuses to save it.
        model.hf_quantizer.remove_quantization_config(model)
    return model


def _complain(source: str, model: Any, report: dict[str, Any], *, strict: bool) -> None:
    """Raise ``CheckpointError`` for weights that are missing or misshapen and, when ``strict``, for those left over."""
    missing, mismatched = sorted(report["missing_keys"]), sorted(report["mismatched_keys"])
    left_over = sorted(report["unexpected_keys"]) if strict else []
    family = type(model).__name__
    if missing:
        raise CheckpointError(
            f"{source}: {len(missing)} weights are missing, first {missing[0]!r}: it is not a complete {family}"
        )
    if mismatched:
        name, found, wanted = mismatched[0]
        raise CheckpointError(
            f"{source}: weight {name!r} is {list(found)} where config.json makes it {list(wanted)} ({family}); weights and "
            "configuration belong to different models"
        )
    if left_over:
        raise CheckpointError(
            f"{source}: {len(left_over)} weights have no place in a {family}, first {left_over[0]!r}: config.json describes "
            "another model than the weights"
        )


def plan(component: HuggingFace) -> dict[str, Any]:
    """Return parameter counts and sizes; the model exists on the meta device only."""
    if component.config is not None:
        config = made_config(component, component.tokenizer("student"))
    else:
        check_source(component.source, trust_remote_code=False, recognised=component.family is not None)
        config = read_config(component, trust_remote_code=False)
    register()
    with torch.device("meta"):
        model = _build(config, torch.float32)
    freeze(model, component.freeze)
    parameters = list(model.parameters())
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "hidden_size": config.hidden_size,
        "layers": config.num_hidden_layers,
        "vocabulary": int(model.get_output_embeddings().weight.shape[0]),
    }
