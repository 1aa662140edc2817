"""What there is to know of a model without its weights: for ``tide inspect``.

Reads configuration, tokenizer and the headers of the weight files; the model exists on the meta device only.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

from tide_specs import CheckpointError, ConfigError, DataError, Form

from ..families import Family
from ..huggingface import BLOCK_FORMS, LAYOUTS, HuggingFace, local_folder
from .configs import model_class
from .files import check_safetensors, weight_files
from .loading import meta_model

TORCH_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_EXPERT = re.compile(r"(^|\.)experts\.")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_CHOSEN = ("num_experts_per_tok", "moe_k", "moe_topk", "num_experts_per_token")
_CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")


def describe(component: HuggingFace) -> dict[str, dict[str, Any]]:
    """Return the groups that ``Architecture.describe`` speaks of. Raises ``CheckpointError`` for a broken checkpoint."""
    model = meta_model(component)
    known = _known_form(component)
    return {
        "model": _model(component, model),
        "denoising": _denoising(component, known, causal=_predicts_next(model)),
        "tokenizer": _tokenizer(component, known, model),
        "size": _size(model),
        "weights": stored_weights(component),
        "use": _uses(model, known),
    }


def _known_form(component: HuggingFace) -> Form | None:
    try:
        return component.denoiser_form
    except ConfigError:
        return None


def _model(component: HuggingFace, model: Any) -> dict[str, Any]:
    family = component.family
    return {
        "family": model.config.model_type if family is None else family.name,
        "title": None if family is None else family.title,
        "model_type": component.settings.get("model_type", model.config.model_type),
        "class": model_class(model.config)._model_mapping[type(model.config)].__name__,
        "recognised": family is not None,
    }


def _predicts_next(model: Any) -> bool:
    return "MaskedLM" not in model_class(model.config).__name__


def _denoising(component: HuggingFace, known: Form | None, *, causal: bool) -> dict[str, Any]:
    if known is None:
        note = "not recorded: give `form`; nothing says that this checkpoint denoises"
        return {"form": None, "shift": "right" if causal else "none", "note": note}
    form: dict[str, Any] = {
        "form": known,
        "block_size": component.block,
        "attention": LAYOUTS[known].replace("_", " "),
        "shift": component.native_shift,
    }
    if known == "block_diffusion":
        form |= {"order": component.stream_order, "causal_blocks": component.causal_blocks}
        form |= {"observed_first": component.moves_observed_first}
    if component.family is not None and (differs := _variants(component, component.family)):
        form["variants"] = differs
    return form


def _variants(component: HuggingFace, family: Family) -> str:
    """Return where TIDE's released trainer runs the family otherwise than its authors; empty where nowhere."""
    native, published = (asdict(family.semantics(component.settings, kind)) for kind in ("native", "published"))
    return "; ".join(
        f"{n}: {native[n]} (native), {published[n]} (published)" for n in native if native[n] != published[n]
    )


def _tokenizer(component: HuggingFace, known: Form | None, model: Any) -> dict[str, Any]:
    readable = component if known is not None else component.model_copy(update={"form": "autoregressive"})
    rows = int(model.get_input_embeddings().weight.shape[0])
    try:
        tokenizer = readable.tokenizer("teacher")
    except (DataError, CheckpointError) as error:
        return {"model_rows": rows, "problem": str(error)}
    mask = tokenizer.mask_token_id
    own: Any = getattr(tokenizer, "tokenizer", None)
    names = tokenizer.describe()
    added = mask is not None and component.model is not None and mask >= rows
    return {
        "class": type(own).__name__,
        "algorithm": names.get("algorithm"),
        "mask_token": None if mask is None else names.get("mask"),
        "mask_token_id": mask,
        "mask_token_is_new": added,
        "tokenizer_ids": tokenizer.vocabulary_size,
        "model_rows": rows,
        "chat_template": bool(getattr(own, "chat_template", None)),
        "end_of_turn": names.get("end of turn"),
        "end_of_turn_id": tokenizer.end_of_turn_token_id,
    }


def _size(model: Any) -> dict[str, Any]:
    config: Any = model.config
    total = sum(p.numel() for p in model.parameters())
    experts, chosen = _setting(config, _EXPERTS), _setting(config, _CHOSEN)
    size = {
        "parameters": total,
        "active_parameters": total if not experts or not chosen else _active(model, chosen / experts),
        "hidden_size": config.hidden_size,
        "layers": config.num_hidden_layers,
        "context_length": _setting(config, _CONTEXT),
    }
    return size if not experts else {**size, "experts": experts, "experts_per_token": chosen}


def _setting(config: Any, names: tuple[str, ...]) -> int | None:
    return next((int(getattr(config, name)) for name in names if getattr(config, name, None)), None)


def _active(model: Any, share: float) -> int:
    """Count the parameters that one token meets: of the routed experts only its share."""
    routed = sum(p.numel() for name, p in model.named_parameters() if _EXPERT.search(name))
    return sum(p.numel() for p in model.parameters()) - routed + round(routed * share)


def stored_weights(component: HuggingFace) -> dict[str, Any]:
    """Return dtype, bytes and number of the weight files, from their headers; empty where no weights are on this disk."""
    if component.model is None:
        return {}
    path = Path(component.source)
    if path.suffix == ".gguf":
        return {"files": 1, "bytes": path.stat().st_size, "format": "GGUF"}
    folder = local_folder(component.source)
    try:
        files = [] if folder is None else weight_files(folder)
    except CheckpointError:  # a cached configuration without its weights
        return {}
    counts: Counter[str] = Counter()
    for file in files:
        for entry in check_safetensors(file).values():
            counts[str(entry["dtype"])] += prod(entry["shape"])
    if not counts:
        return {}
    ((most, _),) = counts.most_common(1)
    dtypes = {TORCH_DTYPES.get(name, name): count for name, count in counts.most_common()}
    sizes = {"files": len(files), "bytes": sum(file.stat().st_size for file in files), "format": "safetensors"}
    return {"dtype": TORCH_DTYPES.get(most, most), **sizes, **({"dtypes": dtypes} if len(dtypes) > 1 else {})}


def _uses(model: Any, known: Form | None) -> dict[str, Any]:
    denoisers: list[Form] = ["bidirectional", *BLOCK_FORMS]
    likely: Form = "autoregressive" if _predicts_next(model) else "bidirectional"
    teacher = [known or likely]
    trained = [form for form in denoisers if form != known]
    student = [] if known in (None, "autoregressive") else [known]
    return {"teacher": teacher, "student": student, "student_after_training": trained}
