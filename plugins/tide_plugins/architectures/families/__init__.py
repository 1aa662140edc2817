"""Published diffusion families that the bundled ``huggingface`` architecture recognises. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from .a2d import A2d
from .family import Family, Semantics, Settings, Variant
from .fast_dllm import FastDllm
from .llada import Llada, LladaMoe
from .llada2 import Llada2
from .qwen import Dream
from .sdar import Sdar, SdarMoe
from .wedlm import Wedlm

FAMILIES: tuple[Family, ...] = (LladaMoe(), Llada(), Llada2(), Dream(), Sdar(), SdarMoe(), FastDllm(), A2d(), Wedlm())
"""In the order in which they are asked; the first that recognises a checkpoint has it."""


def recognise(settings: Settings, families: Sequence[Family] = FAMILIES) -> Family | None:
    """Return the family of a checkpoint with this ``config.json``, ``None`` for a model that transformers knows itself."""
    return next((family for family in families if family.recognises(settings)), None)


__all__ = ["FAMILIES", "Family", "Semantics", "Settings", "Variant", "recognise"]
