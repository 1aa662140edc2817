"""torch's flex_attention: the layout's own rule, compiled into the kernel.

Shapes: B rows, Hq query heads, Hk key heads, Q query positions, K key positions, D head width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, UnavailableError

from .refusal import check

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Flex(AttentionBackend):
    """torch's flex_attention with a block mask made from the layout; compiled on CUDA.

    Trains on CUDA only: torch has no backward pass for it elsewhere. On CPU it still evaluates.
    """

    name: Literal["flex"] = "flex"
    features: ClassVar[frozenset[str]] = frozenset({"softcap", "window", "sinks", "bias"})

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """See ``AttentionBackend.attend``. Raises ``UnavailableError`` when gradients are wanted outside CUDA."""
        import torch

        from .flexible import attend_flex

        check(self, query, key, layout, options)
        learned = (query, key, value, *(t for t in (options.sinks, options.bias) if t is not None))
        trains = torch.is_grad_enabled() and any(t.requires_grad for t in learned)
        if trains and (reason := self.available(query.device, query.dtype)):
            raise UnavailableError(f"attention backend 'flex' cannot train here: {reason}")
        if not trains:  # torch refuses inputs that could have a gradient outside CUDA, even where none is recorded
            query, key, value = query.detach(), key.detach(), value.detach()
        return attend_flex(query, key, value, layout, options)

    def available(self, device: torch.device, dtype: torch.dtype) -> str | None:
        """CUDA, in the dtypes that its kernels are generated for."""
        import torch

        if device.type != "cuda":
            return f"flex_attention has no backward pass on {device.type}, only on cuda; use sdpa"
        if dtype not in (torch.float16, torch.bfloat16, torch.float32):
            return f"flex_attention has no CUDA kernel for {dtype}; use eager"
        return None
