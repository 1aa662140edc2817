"""From the component ``diffusion_gemma`` to a denoiser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from tide_plugins.tokenizers.huggingface import HuggingFaceTokenizer
from tide_specs import CheckpointError, ConfigError, Role, Runtime, TextTokenizer, UnavailableError

from ..diffusion_gemma import DiffusionGemma
from ..huggingface import PACKAGED, read_settings
from .configs import check_options, configure, explained, first_line
from .files import check_source, refuse_missing
from .gemma_canvas import CanvasDenoiser
from .gemma_network import GemmaNetwork
from .interface import IMPLEMENTATION, register
from .loading import checkpoint_gradients, freeze

MODEL_TYPE = "diffusion_gemma"
SMALL_VISION = {
    "model_type": "gemma4_vision",
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "position_embedding_size": 16,
}
"""The vision tower of a model made from ``config`` that says nothing of one: it is never used, but belongs to the family."""


def check(component: DiffusionGemma) -> None:
    """Raise for files that are missing or broken, another model type, and options that cannot be."""
    if component.tokenizer_from is not None:
        refuse_missing(component.tokenizer_from)
    if component.model is not None:
        check_source(component.model, trust_remote_code=False)
    _configured(component, {"vocab_size": 1 << 20})


def read_tokenizer(component: DiffusionGemma) -> TextTokenizer:
    """Return the tokenizer without a mask token."""
    source = component.tokenizer_from or str(component.model)
    if source.startswith(PACKAGED):
        from tide_plugins.tokenizers.packaged import PackagedName, load_packaged

        known = load_packaged(cast(PackagedName, source.removeprefix(PACKAGED)))
    else:
        known = HuggingFaceTokenizer.from_path(source)
    return HuggingFaceTokenizer(known.tokenizer, mask_token_id=None)


def load(component: DiffusionGemma, role: Role, runtime: Runtime) -> CanvasDenoiser:
    """Load or initialise the model, set what is trainable, and wrap it."""
    register()
    tokenizer = read_tokenizer(component)
    config = _configured(component, sizes_of(tokenizer))
    _check_attention(config, runtime)
    # A student's float32 master weights: at small learning rates most bfloat16 weights would never move.
    dtype = torch.float32 if role == "student" else runtime.dtype
    if component.model is None:
        model = _initialise(config, dtype, runtime.seed)
    else:
        model = _pretrained(component.model, config, dtype)
    if tokenizer.vocabulary_size > int(model.lm_head.weight.shape[0]):
        raise ConfigError(
            f"diffusion_gemma: the tokenizer has {tokenizer.vocabulary_size} ids, but the model {model.lm_head.weight.shape[0]} "
            "columns; give the tokenizer that belongs to the model"
        )
    model.to(runtime.device)
    _prepare(component, model, role, runtime)
    network = GemmaNetwork(model, runtime.attention)
    return CanvasDenoiser(
        network, tokenizer, canvas_length=component.canvas, self_conditioning=component.self_conditioning
    )


def plan(component: DiffusionGemma) -> dict[str, Any]:
    """Return parameter counts and sizes; the model exists on the meta device only."""
    register()
    config = _configured(component, sizes_of(read_tokenizer(component)))
    with torch.device("meta"):
        model = _build(config, torch.float32)
    _freeze(component, model)
    parameters = list(model.parameters())
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "hidden_size": config.text_config.hidden_size,
        "layers": config.text_config.num_hidden_layers,
        "vocabulary": int(model.lm_head.weight.shape[0]),
    }


def sizes_of(tokenizer: TextTokenizer) -> dict[str, Any]:
    """Return what the tokenizer decides of a ``text_config``."""
    return {"vocab_size": tokenizer.vocabulary_size, "eos_token_id": tokenizer.end_of_turn_token_id}


def _configured(component: DiffusionGemma, sizes: Mapping[str, Any]) -> Any:
    """Return the configuration of the component, checked. ``sizes``: see ``sizes_of``; a pretrained model has its own."""
    if component.config is not None:
        config = configure(_completed(component.config, sizes))
    else:
        settings = read_settings(str(component.model))
        if not settings:
            raise CheckpointError(f"{Path(str(component.model)) / 'config.json'}: missing; download the model first")
        if settings.get("model_type") != MODEL_TYPE:
            raise CheckpointError(
                f"{Path(str(component.model)) / 'config.json'}: model_type is {settings.get('model_type')!r}, not "
                f"{MODEL_TYPE!r}; use architecture 'huggingface' for other families"
            )
        config = configure(settings)
    config.canvas_length = component.canvas
    _refuse_unserved(config)
    return config


def _completed(given: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    model_type = given.get("model_type", MODEL_TYPE)
    if model_type != MODEL_TYPE:
        raise ConfigError(f"config.model_type: must be {MODEL_TYPE!r} or left out, not {model_type!r}")
    text: dict[str, Any] = dict(given["text_config"])
    check_options({**given, "model_type": MODEL_TYPE})
    check_options({**text, "model_type": f"{MODEL_TYPE}_text"})
    missing = [name for name in ("num_experts", "top_k_experts", "moe_intermediate_size") if text.get(name) is None]
    if missing:
        raise ConfigError(f"config.text_config: {', '.join(missing)} missing; every layer is a mixture of experts")
    # A padding row would never learn, and the padding token is often the end-of-turn token.
    unset = {"pad_token_id": None, "bos_token_id": None}
    # No image is ever read, so that no token stands for one.
    parts = {"vision_config": SMALL_VISION, "image_token_id": -1}
    return {**parts, **given, "model_type": MODEL_TYPE, "text_config": {**unset, **sizes, **text}}


def _refuse_unserved(config: Any) -> None:
    if not config.tie_word_embeddings:
        raise UnavailableError(
            "diffusion_gemma: tie_word_embeddings is false, which makes encoder and decoder two sets of weights; TIDE serves "
            "the family as published, with one"
        )
    if config.text_config.use_bidirectional_attention == "all":
        raise UnavailableError(
            "diffusion_gemma: use_bidirectional_attention is 'all': an encoder that reads later tokens cannot serve canvases "
            "one after the other"
        )


def _check_attention(config: Any, runtime: Runtime) -> None:
    text: Any = config.text_config
    needed = {"window"} if "sliding_attention" in text.layer_types else set[str]()
    needed |= {"dropout"} if text.attention_dropout else set()
    for layout in ("causal", "cached"):
        runtime.attention.require(layout, needed)


def _initialise(config: Any, dtype: torch.dtype, seed: int) -> Any:
    """Return a model with random weights that depend on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(config, dtype)


def _build(config: Any, dtype: torch.dtype) -> Any:
    kind = _model_class()
    try:
        return kind._from_config(config, dtype=dtype, **_implementations(config, dtype))
    except (LookupError, ValueError, TypeError, RuntimeError, AttributeError, AssertionError) as error:
        raise ConfigError(f"diffusion_gemma: config: {first_line(error)}") from error


def _pretrained(source: str, config: Any, dtype: torch.dtype) -> Any:
    """Return the pretrained model. Raises ``CheckpointError`` naming the file or the weights that are wrong."""
    check_source(source, trust_remote_code=False)
    with explained(source):
        model, report = _model_class().from_pretrained(
            source,
            config=config,
            dtype=dtype,
            **_implementations(config, dtype),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            use_safetensors=True,
        )
    _complain(source, report)
    return model


def _complain(source: str, report: Mapping[str, Any]) -> None:
    """Raise ``CheckpointError`` for weights that are missing, misshapen or left over, naming the first."""
    for kind, what in (("missing_keys", "are missing"), ("unexpected_keys", "have no place in DiffusionGemma")):
        if names := sorted(report[kind]):
            raise CheckpointError(
                f"{source}: {len(names)} weights {what}, first {names[0]!r}: weights and config.json belong to different models"
            )
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise CheckpointError(
            f"{source}: weight {name!r} is {list(found)} where config.json makes it {list(wanted)}; weights and configuration "
            "belong to different models"
        )


def _implementations(config: Any, dtype: torch.dtype) -> dict[str, str]:
    """Return what computes attention and experts.

    torch's grouped product, the library's choice for experts, has no float64 and wants rows of whole 16 bytes.
    """
    widths = (config.text_config.hidden_size, config.text_config.moe_intermediate_size)
    odd = dtype == torch.float64 or any(width * dtype.itemsize % 16 for width in widths)
    experts = {"experts_implementation": "eager"} if odd else {}
    return {"attn_implementation": IMPLEMENTATION, **experts}


def _model_class() -> Any:
    try:
        from transformers.models.diffusion_gemma import modeling_diffusion_gemma
    except ImportError as error:
        raise UnavailableError("this transformers has no DiffusionGemma; update transformers") from error
    return modeling_diffusion_gemma.DiffusionGemmaForBlockDiffusion


def _prepare(component: DiffusionGemma, model: Any, role: Role, runtime: Runtime) -> None:
    for part in (model.model.encoder.language_model, model.model.decoder):
        part.embed_tokens.padding_idx = None
    if role == "teacher":
        model.requires_grad_(False)
        model.eval()
        return
    _freeze(component, model)
    model.train()
    if runtime.gradient_checkpointing:
        # The library's decoder layers recompute; the encoder's, which write the cache, do not.
        checkpoint_gradients(model)


def _freeze(component: DiffusionGemma, model: Any) -> None:
    # No text reaches them, so that no gradient would.
    model.model.encoder.vision_tower.requires_grad_(False)
    model.model.encoder.embed_vision.requires_grad_(False)
    freeze(model, component.freeze)
