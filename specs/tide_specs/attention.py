"""Attention backends: how a layout becomes a computation."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .component import Component
from .layout import AttentionLayout

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What a model's attention asks for beyond its layout.

    scale: factor on the products. softcap: cap * tanh(products / cap). window: see ``AttentionLayout.dense``.
    sinks [Hq]: one extra logit per head that takes probability and gives no value. dropout: probability, training only.
    bias [B or 1, Hq or 1, Q, K]: added to the scaled products (relative position biases).
    """

    scale: float
    softcap: float | None = None
    window: int | None = None
    sinks: Tensor | None = None
    dropout: float = 0.0
    bias: Tensor | None = None

    def features(self) -> frozenset[str]:
        """Return the names of the features in use; a backend must list each in its ``features``."""
        used = {
            "softcap": self.softcap is not None,
            "window": self.window is not None,
            "sinks": self.sinks is not None,
            "dropout": self.dropout > 0.0,
            "bias": self.bias is not None,
        }
        return frozenset(name for name, present in used.items() if present)


class AttentionBackend(Component):
    """Kind ``attention``. Implement ``attend``; state which layouts and features you serve."""

    kind: ClassVar[str] = "attention"
    layouts: ClassVar[frozenset[str]] = frozenset({"full", "causal", "block_causal", "block_diffusion", "cached"})
    """``AttentionLayout.kind`` of the layouts that the backend serves."""
    features: ClassVar[frozenset[str]] = frozenset()
    """Which of ``softcap``, ``window``, ``sinks``, ``dropout``, ``bias`` the backend serves."""

    @abstractmethod
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """Query [B, Hq, Q, D], key and value [B, Hk, K, D] (Hk divides Hq) -> [B, Hq, Q, D], in the query's dtype.

        Rows of padded queries may hold anything finite.
        """
        raise NotImplementedError

    def available(self, device: torch.device, dtype: torch.dtype) -> str | None:
        """Return ``None`` when the backend works with this device and dtype, otherwise the reason why it does not."""
        return None
