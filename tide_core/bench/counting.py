"""What one generation does: floating-point operations, forward passes, positions through the model. Counted, not estimated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class Counts:
    """``forwards`` and ``positions``: calls of the token embedding and ids that it saw; ``None`` for a model without one."""

    flops: float
    forwards: int | None
    positions: int | None


def counted(module: nn.Module, run: Callable[[], Any]) -> tuple[Any, Counts]:
    """Call ``run`` and return its result with what the model did meanwhile.

    Operations are those of matrix products, convolutions and attention, at the shapes that the kernels are given: hidden
    tiles that a kernel computes all the same are counted, hidden tiles that are never computed are not.
    """
    embedding = token_embedding(module)
    seen: list[int] = []

    def look(_: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        (ids,) = [value for value in (*positional, *named.values()) if isinstance(value, Tensor)][:1]
        seen.append(ids.numel())

    handle = None if embedding is None else embedding.register_forward_pre_hook(look, with_kwargs=True)
    try:
        with FlopCounterMode(display=False, custom_mapping=missing_formulas()) as counter:
            result = run()
    finally:
        if handle is not None:
            handle.remove()
    known = bool(seen)
    return result, Counts(
        flops=float(counter.get_total_flops()),
        forwards=len(seen) if known else None,
        positions=sum(seen) if known else None,
    )


def token_embedding(module: nn.Module) -> nn.Module | None:
    """Return what turns ids into vectors: every position of every forward pass goes through it once."""
    named: Any = getattr(module, "get_input_embeddings", None)
    if callable(named):
        found = named()
        if isinstance(found, nn.Module):
            return found
    tables = [part for part in module.modules() if isinstance(part, nn.Embedding)]
    return max(tables, key=lambda table: table.num_embeddings, default=None)


def missing_formulas() -> dict[Any, Callable[..., int]]:
    """What torch's counter leaves out: products into a given tensor, the CPU's fused attention, experts' products."""
    found: dict[Any, Callable[..., int]] = {aten.addmm_: _addmm}
    for space, name, formula in (
        (aten, "_scaled_dot_product_flash_attention_for_cpu", _attention),
        (aten, "_grouped_mm", _grouped),
        (torch.ops.transformers, "grouped_mm_fallback", _grouped),
    ):
        operation = getattr(space, name, None)
        if operation is not None:
            found[operation] = formula
    return found


def _addmm(total: Any, a: Any, b: Any, *_: Any, **__: Any) -> int:
    return 2 * a[0] * a[1] * b[1]


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Query [B, Hq, Q, D], key [B, Hk, K, D], value [B, Hk, K, Dv]."""
    rows, heads, queries, width = query
    return 2 * rows * heads * queries * key[2] * (width + value[3])


def _grouped(a: Any, b: Any, *_: Any, **__: Any) -> int:
    """Rows [M, K] of all groups together, matrices [G, K, N]; with a batch of rows [G, M, K] each group has its own M."""
    rows = a[0] * a[1] if len(a) == 3 else a[0]
    return 2 * rows * a[-1] * b[-1]
