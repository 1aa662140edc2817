"""Checkpoints of published families, made from nothing: their own config.json, weights under their own names, a tokenizer.

A reference forward of a family takes the very dictionary of weights that is written, in float64, and shares no code with
the architecture under test.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tide_plugins.architectures.huggingface import HuggingFace
from tide_plugins.attention.eager import Eager
from tide_plugins.tokenizers.packaged import PackagedName, load_packaged
from tide_specs import Denoiser, Role, Runtime

INDEX = "model.safetensors.index.json"


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Float64 weights of these shapes: norms near 1, everything else, biases and routing biases included, far from 0."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        weights[name] = 1 + 0.2 * drawn if "norm" in name and len(shape) == 1 else drawn * shape[-1] ** -0.5
    return weights


def write_checkpoint(
    folder: Path,
    settings: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    *,
    tokenizer: PackagedName | None = "qwen",
    mask_token: str | None = None,
    shards: int = 2,
) -> Path:
    """Write a model directory as the hub has it: config.json, shards with their index, and a real tokenizer (or none)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dict(settings)), encoding="utf-8")
    names = list(weights)
    files = {f"model-{n + 1:05}-of-{shards:05}.safetensors": names[n::shards] for n in range(shards)}
    for file, held in files.items():
        save_file({name: weights[name].contiguous() for name in held}, folder / file, {"format": "pt"})
    index = {name: file for file, held in files.items() for name in held}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}), encoding="utf-8")
    if tokenizer is None:
        return folder
    known: Any = load_packaged(tokenizer).tokenizer
    if mask_token is not None:
        known.add_special_tokens({"additional_special_tokens": [mask_token]})
    known.save_pretrained(folder)
    return folder


def load(folder: Path, *, role: Role = "teacher", **options: Any) -> Denoiser:
    """Load in float64 with the eager backend, so that rounding explains nothing."""
    runtime = Runtime(device=torch.device("cpu"), dtype=torch.float64, attention=Eager())
    return HuggingFace(model=str(folder), **options).load(role, runtime)


def logits(model: Denoiser, noised: Tensor, clean: Tensor, lengths: Tensor) -> Tensor:
    """Noised and clean ids [B, L] -> logits [B, L, C] in float64, which ``Head.logits`` would round to float32."""
    head = model.head()
    with torch.no_grad():
        hidden = model.hidden(noised, clean, lengths)
        return head.project(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])
