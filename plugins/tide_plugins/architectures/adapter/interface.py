"""The attention function that transformers' models call, and the object that travels down to it.

Shapes: B rows, Q query positions, K key positions, Hq query heads, Hk key heads (Hk divides Hq), D and Dv head sizes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, UnavailableError

IMPLEMENTATION = "tide"
"""Name under which transformers knows the attention function."""

_HARMLESS = frozenset(
    [
        "cache_position",
        "deterministic",
        "head_mask",
        "is_causal",
        "layer_head_mask",
        "logits_to_keep",
        "num_items_in_batch",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "past_key_value",
        "past_key_values",
        "position_embeddings",
        "position_ids",
        "return_dict",
        "token_type_ids",
        "use_cache",
        "cu_seq_lens_q",
        "cu_seq_lens_k",
        "max_length_q",
        "max_length_k",
    ]
)
"""Keywords that models hand to their attention function and that change nothing beyond what a layout says."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one layer asked of the attention function."""

    module: nn.Module
    layout: AttentionLayout | None
    options: AttentionOptions
    strange: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionPass:
    """What one forward pass hands to every layer: travels as a keyword argument, so that it survives recomputation.

    ``seen`` collects what each layer asked for; only the verification of a model fills it.
    """

    layout: AttentionLayout
    backend: AttentionBackend
    seen: list[Seen] | None = field(default=None)


def register() -> None:
    """Make ``attn_implementation="tide"`` known to transformers.

    Registered for attention only, not for masks: transformers then builds no mask of its own.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.utils.logging import disable_progress_bar

    if IMPLEMENTATION not in ALL_ATTENTION_FUNCTIONS.valid_keys():
        ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, attend)
    if not sys.stderr.isatty():  # a bar that nobody watches fills log files
        disable_progress_bar()


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    tide_pass: AttentionPass | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Query [B, Hq, Q, D], key [B, Hk, K, D], value [B, Hk, K, Dv] -> ([B, Q, Hq, Dv], None), as transformers expects."""
    if tide_pass is None:
        raise UnavailableError(
            f"{type(module).__name__} does not hand keyword arguments down to its attention function"
        )
    if attention_mask is not None:
        raise UnavailableError(
            f"{type(module).__name__} builds an attention mask of its own, which no layout can replace"
        )
    options = AttentionOptions(
        scale=query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        softcap=softcap,
        window=sliding_window,
        sinks=s_aux,
        dropout=float(dropout or 0.0),
    )
    if tide_pass.seen is not None:
        strange = tuple(sorted(name for name in others.keys() - _HARMLESS if others[name] is not None))
        tide_pass.seen.append(Seen(module=module, layout=tide_pass.layout, options=options, strange=strange))
    query, key, value = _one_dtype(query, key, value)
    width, wanted = value.shape[-1], query.shape[-1]
    if width < wanted:  # multi-head latent attention: the contract speaks of one head size
        value = pad(value, (0, wanted - width))
    elif width > wanted:
        query, key = pad(query, (0, width - wanted)), pad(key, (0, width - wanted))
    out = tide_pass.backend.attend(query, key, value, tide_pass.layout, options)
    return out[..., :width].transpose(1, 2).contiguous(), None


def _one_dtype(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # Under autocast float32 norms on queries and keys leave them float32 beside bfloat16 values.
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else value.dtype
    return query.to(dtype), key.to(dtype), value.to(dtype)
