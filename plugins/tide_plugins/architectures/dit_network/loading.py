"""From a component to a denoiser."""

# torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch

from tide_specs import AttentionBackend, Role, Runtime, TextTokenizer

from ..dit import Dit
from .denoiser import DitDenoiser
from .network import DiffusionTransformer
from .weights import read_weights


def load(component: Dit, role: Role, runtime: Runtime) -> DitDenoiser:
    """Read or initialise the network, and wrap it."""
    tokenizer = component.tokenizer(role)
    # A student's float32 master weights: at small learning rates most bfloat16 weights would never move.
    dtype = torch.float32 if role == "student" else runtime.dtype
    if component.model is None:
        module = _initialised(component, tokenizer, runtime).to(runtime.device, dtype)
    else:
        module = _empty(component, runtime)
        read_weights(module, Path(component.model), runtime.device, dtype)
    module.train(role == "student")
    module.requires_grad_(role == "student")
    form, block = component.denoiser_form, component.block
    return DitDenoiser(module, tokenizer, form=form, block_size=block, settings=component.settings)


def _initialised(component: Dit, tokenizer: TextTokenizer, runtime: Runtime) -> DiffusionTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.seed)
        return _network(component, tokenizer.vocabulary_size, runtime)


def _empty(component: Dit, runtime: Runtime) -> DiffusionTransformer:
    with torch.device("meta"):
        return _network(component, None, runtime)


def _network(component: Dit, vocabulary: int | None, runtime: Runtime) -> DiffusionTransformer:
    shape = component.shape(vocabulary)
    return DiffusionTransformer(shape, runtime.attention, recompute=runtime.gradient_checkpointing)


def plan(component: Dit) -> dict[str, Any]:
    """Return parameter counts and sizes; the network exists on the meta device only."""
    vocabulary = component.tokenizer("student").vocabulary_size if component.model is None else None
    shape = component.shape(vocabulary)
    with torch.device("meta"):
        # Building the network stores the backend and calls nothing of it.
        module = DiffusionTransformer(shape, cast(AttentionBackend, None))
    count = sum(p.numel() for p in module.parameters())
    return {
        "parameters": count,
        "trainable_parameters": count,
        "hidden_size": shape.hidden,
        "layers": shape.layers,
        "vocabulary": shape.vocabulary,
    }
