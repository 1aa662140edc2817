"""Tiny models, a byte tokenizer and a dense attention backend, shared by the tests of the architectures."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch

from tide_plugins.architectures.huggingface import HuggingFace
from tide_specs import AttentionBackend, Runtime


class Dense(AttentionBackend):
    name: Literal["dense"] = "dense"
    features = frozenset({"softcap", "window", "sinks", "dropout", "bias"})

    def attend(self, query: Any, key: Any, value: Any, layout: Any, options: Any) -> Any:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        scores = (query @ key.transpose(2, 3)) * options.scale
        if options.softcap is not None:
            scores = options.softcap * torch.tanh(scores / options.softcap)
        visible = layout.dense(device=query.device, window=options.window)
        scores = scores.float().masked_fill(~visible, float("-inf"))
        if options.sinks is not None:
            sinks = options.sinks.float()[None, :, None, None].expand(scores.shape[0], -1, scores.shape[2], 1)
            probability = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
        else:
            probability = scores.softmax(-1)
        probability = torch.dropout(probability, options.dropout, train=True)
        return probability.to(value.dtype) @ value


class FakeTokenizer:
    """Stands for a tokenizer of 96 ids whose last one is the mask token."""

    def __init__(self, size: int = 95, mask: bool = True) -> None:
        self.vocabulary_size = size + mask
        self.mask_token_id = size if mask else None
        self.pad_token_id = 0
        self.end_of_turn_token_id = 0

    def save(self, path: str) -> None:
        """Nothing to write."""


TINY: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Dense(), seed=3)


@pytest.fixture
def fake_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    from tide_plugins.architectures.adapter import tokens

    def stand_in(source: str, *, mask_token: str | None, add_mask_token: bool) -> Any:
        return FakeTokenizer(mask=add_mask_token)

    for module in ("tokens", "loading"):
        monkeypatch.setattr(f"tide_plugins.architectures.adapter.{module}.load_tokenizer", stand_in)
    assert tokens


def tiny(model_type: str = "llama", form: str = "bidirectional", **options: Any) -> HuggingFace:
    sizes = {**TINY, **options.pop("sizes", {})}
    return HuggingFace(config={"model_type": model_type, **sizes}, tokenizer_from="none", form=form, **options)  # type: ignore[arg-type]
