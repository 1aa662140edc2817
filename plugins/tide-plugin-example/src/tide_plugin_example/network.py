"""The model of ``architecture.py``. Imported only when a model is built, so it may import torch.

Shapes: B rows, P positions, H hidden size, h heads, D head size.
"""

from __future__ import annotations

import torch
from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions
from torch import Tensor, nn


class Block(nn.Module):
    """Attention and feed-forward network side by side, behind one norm."""

    def __init__(self, hidden: int, heads: int, attention: AttentionBackend) -> None:
        super().__init__()
        self.hidden, self.heads, self.attention = hidden, heads, attention
        self.norm, self.wide, self.out = (
            nn.LayerNorm(hidden),
            nn.Linear(hidden, 7 * hidden),
            nn.Linear(5 * hidden, hidden),
        )

    def forward(self, x: Tensor, layout: AttentionLayout) -> Tensor:
        qkv, up = self.wide(self.norm(x)).split([3 * self.hidden, 4 * self.hidden], 2)
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = self.attention.attend(q, k, v, layout, AttentionOptions(scale=q.shape[3] ** -0.5))
        return x + self.out(torch.cat([seen.transpose(1, 2).flatten(2), nn.functional.gelu(up)], 2))


class Parallel(nn.Module):
    """Ids [B, P], positions [B or 1, P] and a layout -> hidden states [B, P, H]; ``head`` projects them."""

    def __init__(self, vocabulary: int, hidden: int, layers: int, heads: int, attention: AttentionBackend) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, hidden), nn.Embedding(2048, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads, attention) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(hidden), nn.Linear(hidden, vocabulary, bias=False)

    def forward(self, ids: Tensor, positions: Tensor, layout: AttentionLayout) -> Tensor:
        x = self.tokens(ids) + self.positions(positions)
        for block in self.blocks:
            x = block(x, layout)
        return self.norm(x)
