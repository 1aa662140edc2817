"""Saving a denoiser: the family's own format, plus the record of how it denoises."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tide_specs import Form, TextTokenizer

from ..families.family import Order, Shift
from ..huggingface import RECORD, HuggingFace
from .lora import merged_weights
from .published import restore_published_config


@dataclass(frozen=True, kw_only=True)
class Record:
    """What ``tide.json`` says; see the fields of ``HuggingFace``."""

    form: Form
    block_size: int | None
    shift: Shift
    order: Order
    causal: bool
    mask_token: str | None
    observed_first: bool = False


def record_of(component: HuggingFace, tokenizer: TextTokenizer) -> Record:
    """Return the record of a component with all its defaults resolved."""
    native: Any = getattr(tokenizer, "tokenizer", None)
    return Record(
        form=component.denoiser_form,
        block_size=component.block,
        shift=component.native_shift,
        order=component.stream_order,
        causal=component.causal_blocks,
        mask_token=component.mask_token or getattr(native, "mask_token", None),
        observed_first=component.moves_observed_first,
    )


def save(model: Any, tokenizer: TextTokenizer, record: Record, path: str) -> None:
    """Write weights (safetensors, adapters merged in), configuration, tokenizer and ``tide.json`` into ``path``."""
    Path(path).mkdir(parents=True, exist_ok=True)
    merged = merged_weights(model)
    model.save_pretrained(path, **({} if merged is None else {"state_dict": merged}))
    restore_published_config(model, path)
    tokenizer.save(path)
    (Path(path) / RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
