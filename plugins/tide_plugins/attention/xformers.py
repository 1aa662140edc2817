"""xformers' memory_efficient_attention with structured biases.

Shapes: B rows, Hq query heads, Hk key heads, Q query positions, K key positions, D head width.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, UnavailableError

from .refusal import check

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Xformers(AttentionBackend):
    """xformers' kernels; layouts become block-diagonal biases over gathered keys, with no hidden product computed.

    Every block of queries becomes one sequence whose keys are gathered side by side. Where that would copy keys more
    than ``growth`` times over (long rows of small blocks), tiles with a tensor bias take its place, as in ``sdpa``.
    """

    name: Literal["xformers"] = "xformers"
    requires: ClassVar[tuple[str, ...]] = ("xformers",)
    features: ClassVar[frozenset[str]] = frozenset({"window"})

    growth: PositiveFloat = Field(16.0, description="most copies of the keys that gathering may make")
    tile: PositiveInt = Field(128, description="tokens of a stream whose queries share one call, where tiles are used")

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """See ``AttentionBackend.attend``. Raises ``UnavailableError`` without the package or without CUDA."""
        check(self, query, key, layout, options)
        if reason := self.available(query.device, query.dtype):
            raise UnavailableError(f"attention backend 'xformers' cannot run here: {reason}")
        from .packed import attend_packed

        return attend_packed(query, key, value, layout, options, growth=self.growth, tile=self.tile)

    def available(self, device: torch.device, dtype: torch.dtype) -> str | None:
        """The package, CUDA, and the dtypes of its kernels."""
        import torch

        if find_spec("xformers") is None:
            return "the package xformers is missing; pip install 'tide-distill[xformers]'"
        if device.type != "cuda":
            return f"xformers computes on cuda only, not on {device.type}; use sdpa"
        if dtype not in (torch.float16, torch.bfloat16, torch.float32):
            return f"xformers has no kernel for {dtype}; use eager"
        return None
