"""Routers of published mixtures of experts that no class of transformers has.

Shapes: T tokens, H hidden size, E experts, k experts of a token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Buffer
from torch.nn.functional import linear
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock, Qwen3MoeTopKRouter


class BiasedSoftmaxRouter(Qwen3MoeTopKRouter):
    """Softmax over all experts plus a bias per expert; the biased values choose, and are the weights as they are."""

    expert_bias: Tensor
    """[E]; moved by load balancing while the model was trained, not by gradients."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.expert_bias = Buffer(torch.zeros(config.num_experts))

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States [..., H] -> logits [T, E], weights [T, k], indices [T, k]."""
        logits = linear(hidden_states.reshape(-1, hidden_states.shape[-1]), self.weight)
        probabilities = logits.softmax(dim=-1, dtype=torch.float32)
        weights, chosen = (probabilities + self.expert_bias.float()).topk(self.top_k, dim=-1)
        return logits, weights.to(logits.dtype), chosen


def add_expert_bias(model: Any) -> None:
    """Replace the router of every sparse layer of a Qwen3-MoE model."""
    for module in model.modules():
        if isinstance(module, Qwen3MoeSparseMoeBlock):
            module.gate = BiasedSoftmaxRouter(model.config)
