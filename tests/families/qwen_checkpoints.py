"""Tiny checkpoints of the families built from Qwen, and what every family promises of its own.

Shapes: B rows, L tokens, C vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import INDEX, load, logits, random_weights, write_checkpoint
from qwen_reference import Qwen, Weights, shapes
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tide_plugins.architectures.families import recognise
from tide_plugins.architectures.huggingface import HuggingFace
from tide_plugins.tokenizers.packaged import CHATML
from tide_specs import CheckpointError

LENGTH, BLOCK = 12, 4
TOOL = "<tool_response>"
SIZES: dict[str, Any] = {
    "vocab_size": 272,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 256,
    "eos_token_id": 256,
}
MASK_ID = 260
IDS = torch.randint(3, 250, (3, LENGTH), generator=torch.Generator().manual_seed(5))
NOISED = torch.where(torch.rand(IDS.shape, generator=torch.Generator().manual_seed(6)) < 0.5, MASK_ID, IDS)
LENGTHS = torch.tensor([LENGTH, 2 * BLOCK, BLOCK])


@dataclass(frozen=True)
class Checkpoint:
    """A directory as the hub has it, and the oracle of its weights."""

    folder: Path
    settings: Mapping[str, Any]
    reference: Qwen

    @property
    def weights(self) -> Weights:
        """Float64 weights under their published names."""
        return self.reference.weights


def write(folder: Path, settings: Mapping[str, Any], *, normed: bool, head_dim: int, mask: str) -> Checkpoint:
    """Write config.json, two shards with their index, and a byte-level tokenizer whose mask token has ``MASK_ID``."""
    weights = random_weights(shapes(settings, normed=normed, head_dim=head_dim))
    write_checkpoint(folder, settings, weights, tokenizer=None)
    write_tokenizer(folder, mask)
    return Checkpoint(folder, settings, Qwen(weights=weights, settings=settings, normed=normed, head_dim=head_dim))


def write_tokenizer(folder: Path, mask: str) -> None:
    """Bytes, then the special tokens of ChatML, then the mask token, which may be an ordinary added one."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|file_sep|>"])
    backend.add_tokens([AddedToken(mask, special=mask != TOOL, normalized=False)])
    known = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    known.chat_template = CHATML
    known.save_pretrained(folder)


def expect_close(ours: Tensor, expected: Tensor) -> None:
    """Float64 against float64: only the order of sums may differ."""
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-10)


def all_logits(component_options: Mapping[str, Any], checkpoint: Checkpoint, noised: Tensor, lengths: Tensor) -> Tensor:
    """What the loaded model computes: [B, L, C]."""
    model = load(checkpoint.folder, **component_options)
    assert model.mask_token_id == MASK_ID
    return logits(model, noised, IDS[: len(noised)], lengths)


def check_round_trip(checkpoint: Checkpoint, folder: Path, **options: Any) -> None:
    """Saved in the family's own format: the same key names and configuration; loaded again, equal logits."""
    model = load(checkpoint.folder, **options)
    model.save(str(folder))
    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as content:
            names |= set(content.keys())
    assert names == set(checkpoint.weights)
    assert json.loads((folder / "config.json").read_text()) == dict(checkpoint.settings)
    again = load(folder)
    assert again.facts() == model.facts()
    assert torch.equal(logits(again, NOISED, IDS, LENGTHS), logits(model, NOISED, IDS, LENGTHS))


def check_recognition(checkpoint: Checkpoint, name: str, *, model_type: str, architecture: str) -> None:
    """Each of the three places in config.json that name the family is enough."""
    bare = {key: value for key, value in checkpoint.settings.items() if key in SIZES}
    auto = {"auto_map": {"AutoModelForCausalLM": f"modeling.{architecture}"}}
    for marker in ({"model_type": model_type}, {"architectures": [architecture]}, auto):
        family = recognise({**bare, **marker})
        assert family is not None
        assert family.name == name
        assert family.native_config({**checkpoint.settings, **marker})["hidden_size"] == 16
    assert recognise(bare) is None


def check_wrong_weights(checkpoint: Checkpoint) -> None:
    """A key that is missing, left over, or of the wrong shape is named."""
    name = "model.layers.1.self_attn.o_proj.weight"
    file = checkpoint.folder / json.loads((checkpoint.folder / INDEX).read_text())["weight_map"][name]
    whole = load_file(file)
    broken: dict[str, dict[str, Tensor]] = {
        f"1 weights are missing, first '{name}'": {k: v for k, v in whole.items() if k != name},
        "1 weights have no place .* first 'model.layers.1.self_attn.gate.weight'": {
            **whole,
            "model.layers.1.self_attn.gate.weight": torch.ones(3),
        },
        rf"weight '{name}' is \[3\] where config\.json makes it \[16, ": {**whole, name: torch.ones(3)},
    }
    for message, weights in broken.items():
        save_file(weights, file, {"format": "pt"})
        with pytest.raises(CheckpointError, match=message):
            load(checkpoint.folder)
    save_file(whole, file, {"format": "pt"})


def check_decoding(checkpoint: Checkpoint, **options: Any) -> None:
    """With a cache, rows of unequal length get what the full pass without one gives."""
    model = load(checkpoint.folder, **options)
    head = model.head()
    session = model.session(2)
    session.extend(IDS[:2, : 2 * BLOCK], torch.tensor([2 * BLOCK, BLOCK]))
    ends = (3 * BLOCK, 2 * BLOCK)
    asked = torch.stack([NOISED[row, end - BLOCK : end] for row, end in enumerate(ends)])
    for _ in range(2):
        hidden = session.hidden(asked)
        for row, end in enumerate(ends):
            text = torch.cat([IDS[row, : end - BLOCK], asked[row]])[None]
            whole = logits(model, text, IDS[row : row + 1, :end], torch.tensor([end]))[0, -BLOCK:]
            expect_close(head.project(hidden[row]), whole)


def component(checkpoint: Checkpoint, **options: Any) -> HuggingFace:
    """The component of a checkpoint."""
    return HuggingFace(model=str(checkpoint.folder), **options)
