"""From a component to a verified denoiser."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import torch

from tide_specs import CheckpointError, ConfigError, Role, Runtime, TextTokenizer, UnavailableError

from ..huggingface import HuggingFace
from .checks import check_extras, check_model
from .configs import explained, first_line, made_config, model_class, read_config, split_gguf
from .denoiser import TransformersDenoiser, denoiser
from .interface import IMPLEMENTATION, register
from .lora import add_adapters
from .network import Network
from .probe import verify
from .published import published_class
from .quantization import quantized_options
from .saving import record_of
from .shift import warn_of_shift
from .tokens import fit_vocabulary, read_tokenizer


def load(component: HuggingFace, role: Role, runtime: Runtime) -> TransformersDenoiser:
    """Load or initialise the model, check that the layout decides everything, and wrap it."""
    register()
    if reason := component.serves(role):
        raise UnavailableError(f"huggingface as {role}: {reason}")
    if component.model is not None:
        check_model(component, trust_remote_code=runtime.trust_remote_code)
    check_extras(component, runtime.device)
    tokenizer, native = read_tokenizer(component, trust_remote_code=runtime.trust_remote_code)
    # A student's float32 master weights: at small learning rates most bfloat16 weights would never move.
    dtype = torch.float32 if role == "student" else runtime.dtype
    if component.config is not None:
        model = initialise(component, tokenizer, dtype, runtime.seed)
    else:
        model = pretrained(component, dtype, runtime)
        fit_vocabulary(model, tokenizer, native)
    if component.quantization is None:
        model.to(runtime.device)
    # A padding_idx keeps the row from learning, and the padding token is often the end-of-turn token.
    model.get_input_embeddings().padding_idx = None
    prepare(component, model, role, runtime, mask_token_id=tokenizer.mask_token_id)
    network = Network(model, runtime.attention)
    verify(network, component)
    loaded = denoiser(network, tokenizer, record_of(component, tokenizer))
    # A mask token that has just been added has no meaning yet under either shift.
    if component.model is not None and component.check_shift and tokenizer.vocabulary_size == native:
        warn_of_shift(loaded, component.model)
    return loaded


def prepare(
    component: HuggingFace, model: Any, role: Role, runtime: Runtime, *, mask_token_id: int | None = None
) -> None:
    """Set what is trainable, and the mode."""
    if role == "teacher":
        model.requires_grad_(False)
        model.eval()
        return
    freeze(model, component.freeze)
    if component.lora is not None:
        add_adapters(model, component.lora, mask_token_id=mask_token_id, seed=runtime.seed)
    model.train()
    if runtime.gradient_checkpointing:
        checkpoint_gradients(model)


def checkpoint_gradients(model: Any) -> None:
    """Recompute activations in the backward pass. Raises ``UnavailableError`` where the library's class cannot."""
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


def pretrained(component: HuggingFace, dtype: torch.dtype, runtime: Runtime) -> Any:
    """Return the pretrained model. Raises ``CheckpointError`` naming the file or the weights that are wrong."""
    source = component.source
    config = read_config(component, trust_remote_code=runtime.trust_remote_code)
    folder, gguf = split_gguf(source)
    extra: dict[str, Any] = {"use_safetensors": True} if gguf is None else {"gguf_file": gguf}
    extra |= quantized_options(component.quantization, dtype, runtime.device)
    family = component.family
    kind = model_class(config) if family is None else published_class(family, component.settings, config)
    with explained(source):
        model, report = kind.from_pretrained(
            folder,
            config=config,
            dtype=dtype if gguf is None else torch.float32,  # what a GGUF file is unpacked in
            attn_implementation=IMPLEMENTATION,
            trust_remote_code=runtime.trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            **extra,
        )
    _complain(source, model, report, strict=family is not None)
    if gguf is not None and getattr(model, "hf_quantizer", None) is not None:
        # The weights are plain numbers by now; while it passes for quantized, transformers refuses to save it.
        model.hf_quantizer.remove_quantization_config(model)
    return model if gguf is None else model.to(dtype)


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
    model = meta_model(component)
    freeze(model, component.freeze)
    if component.lora is not None:
        add_adapters(model, component.lora, mask_token_id=0, seed=0)
    parameters = list(model.parameters())
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "hidden_size": model.config.hidden_size,
        "layers": model.config.num_hidden_layers,
        "vocabulary": int(model.get_output_embeddings().weight.shape[0]),
        "positions": known_positions(model.config),
    }


def known_positions(config: Any) -> int | None:
    """Return how many positions a model was made for; ``None`` where its rotary positions are scaled to go beyond."""
    rotary: Any = getattr(config, "rope_parameters", None) or {}
    kinds = {each.get("rope_type", "default") for each in (rotary, *rotary.values()) if isinstance(each, dict)}
    found: Any = getattr(config, "max_position_embeddings", None)
    return int(found) if found and kinds <= {"default"} else None


def meta_model(component: HuggingFace) -> Any:
    """Return the model on the meta device: every shape, no weight."""
    if component.config is not None:
        config = made_config(component, component.tokenizer("student"))
    else:
        check_model(component, trust_remote_code=False)
        config = read_config(component, trust_remote_code=False)
    register()
    with torch.device("meta"):
        if (family := component.family) is None:
            return _build(config, torch.float32)
        kind = published_class(family, component.settings, config)
        return kind._from_config(config, attn_implementation=IMPLEMENTATION, dtype=torch.float32)
