"""A model family of one's own: say how the module is built, and the rest follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveInt

from tide_specs import AttentionOptions, Runtime, hookimpl
from tide_specs.module_architecture import ModuleArchitecture

if TYPE_CHECKING:
    from torch import nn


class PocketTransformer(ModuleArchitecture):
    """A small transformer over bytes, trained from random weights."""

    name: Literal["pocket_transformer"] = "pocket_transformer"
    hidden: PositiveInt = Field(default=64, description="hidden size, a multiple of heads")
    layers: PositiveInt = Field(default=2, description="number of layers")
    heads: PositiveInt = Field(default=4, description="attention heads")
    longest: PositiveInt = Field(default=1024, description="longest sequence, in tokens")

    def build(self, vocabulary: int, runtime: Runtime) -> nn.Module:
        """Layers attend through the run's backend, which knows what each form may see."""
        import torch
        from torch import nn

        class Layer(nn.Module):
            def __init__(self, size: int, heads: int) -> None:
                super().__init__()
                self.heads, self.first, self.second = heads, nn.LayerNorm(size), nn.LayerNorm(size)
                self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
                self.mlp = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))

            def forward(self, x: Any, layout: Any) -> Any:
                q, k, v = self.qkv(self.first(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
                seen = runtime.attention.attend(q, k, v, layout, AttentionOptions(scale=q.shape[3] ** -0.5))
                x = x + self.out(seen.transpose(1, 2).flatten(2))
                return x + self.mlp(self.second(x))

        class Model(nn.Module):
            def __init__(self, options: PocketTransformer) -> None:
                super().__init__()
                self.tokens = nn.Embedding(vocabulary, options.hidden)
                self.positions = nn.Embedding(options.longest, options.hidden)
                self.layers = nn.ModuleList(Layer(options.hidden, options.heads) for _ in range(options.layers))
                self.norm, self.head = nn.LayerNorm(options.hidden), nn.Linear(options.hidden, vocabulary)

            def forward(self, ids: torch.Tensor, positions: torch.Tensor, layout: Any) -> torch.Tensor:
                x = self.tokens(ids) + self.positions(positions)
                for layer in self.layers:
                    x = layer(x, layout)
                return self.norm(x)

        return Model(self)


@hookimpl
def tide_architectures() -> list[type[PocketTransformer]]:
    """Contribute the family."""
    return [PocketTransformer]
