"""Attention backends: how a layout becomes a computation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .component import Component
from .errors import UnavailableError
from .layout import AttentionLayout

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What a model's attention asks for beyond its layout. Applied in the order of this list.

    scale: factor on the products. softcap: cap * tanh(products / cap), on the scaled products.
    bias [B or 1, Hq or 1, Q, K]: added to the capped products (relative position biases).
    window: see ``AttentionLayout.visible``. sinks [Hq]: one extra logit per head that takes probability and gives no
    value. dropout: probability of dropping a weight after the softmax; the caller passes 0 when it does not train.
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

        Rows of padded queries may hold anything finite. Raises ``UnavailableError`` for a layout or a feature that the
        backend does not list: call ``require`` first.
        """
        raise NotImplementedError

    def available(self, device: torch.device, dtype: torch.dtype) -> str | None:
        """Return ``None`` when the backend can train with this device and dtype, otherwise the reason why it cannot."""
        return None

    def require(
        self, layout: str, features: Iterable[str] = (), *, others: Iterable[type[AttentionBackend]] = ()
    ) -> None:
        """Raise ``UnavailableError`` unless the backend serves a kind of layout together with ``features``.

        ``others``: the backends to recommend from; those that serve all of it are named in the message.
        """
        wanted = frozenset(features)
        missing = sorted(wanted - self.features)
        if layout in self.layouts and not missing:
            return
        parts = [] if layout in self.layouts else [f"the layout '{layout}'"]
        parts += [f"'{name}'" for name in missing]
        able = sorted(o.component_name() for o in others if layout in o.layouts and wanted <= o.features)
        advice = f"backends that do: {', '.join(able)}" if able else "no other known backend does"
        raise UnavailableError(f"attention backend '{self.name}' does not serve {', '.join(parts)}; {advice}")
