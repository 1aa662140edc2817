"""Bundled samplers: block by block or through a window for diffusion models, token by token for autoregressive ones."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Sampler, hookimpl

from .autoregressive import AutoregressiveSampler
from .block import BlockSampler
from .canvas import CanvasSampler
from .window import WindowSampler


@hookimpl
def tide_samplers() -> Sequence[type[Sampler]]:
    """Contribute the bundled samplers."""
    return [BlockSampler, WindowSampler, CanvasSampler, AutoregressiveSampler]
