"""A model family. ``ModuleArchitecture`` runs the module of ``build`` in every form, saves it and loads it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt
from tide_specs import Architecture, ModuleArchitecture, Runtime, hookimpl

if TYPE_CHECKING:
    from torch import nn


class ParallelBytes(ModuleArchitecture):
    """A transformer over bytes whose attention and feed-forward layers run side by side."""

    name: Literal["example_parallel"] = "example_parallel"
    hidden: PositiveInt = Field(default=64, description="hidden size, a multiple of heads")
    layers: PositiveInt = Field(default=2, description="number of blocks")
    heads: PositiveInt = Field(default=4, description="attention heads")

    def build(self, vocabulary: int, runtime: Runtime) -> nn.Module:
        from .network import Parallel

        return Parallel(vocabulary, self.hidden, self.layers, self.heads, runtime.attention)


@hookimpl
def tide_architectures() -> list[type[Architecture]]:
    return [ParallelBytes]
