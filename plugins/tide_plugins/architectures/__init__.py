"""Bundled architectures: how a model family becomes a denoiser."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Architecture, hookimpl

from .cached import Cached
from .diffusion_gemma import DiffusionGemma
from .dit import Dit
from .huggingface import HuggingFace


@hookimpl
def tide_architectures() -> Sequence[type[Architecture]]:
    """Contribute the bundled architectures."""
    return [Cached, DiffusionGemma, Dit, HuggingFace]
