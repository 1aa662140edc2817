"""A tiny checkpoint as the hub has Dream: config.json of its own, a tokenizer whose class only its own code has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SETTINGS: dict[str, Any] = {
    "model_type": "Dream",
    "architectures": ["DreamModel"],
    "auto_map": {"AutoConfig": "configuration_dream.DreamConfig", "AutoModel": "modeling_dream.DreamModel"},
    "vocab_size": 264,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "mask_token_id": 258,
}
MASK = "<|mask|>"
END = "<|im_end|>"
CODE = "raise SystemExit('this code ran')\n"


def tokenizer_files(
    folder: Path, *, added: tuple[str, ...] = (END, MASK), whole: bool = True, code: bool = True, **config: Any
) -> None:
    """Write a byte-level BPE: ids 0 to 255 are bytes, 256 the end of text, then the added tokens.

    ``whole``: in one file, else as vocabulary and merges; ``code``: its class is one that comes with it.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate(alphabet)}
    tokens = {"<|endoftext|>": 256, **{text: 257 + n for n, text in enumerate(added)}}
    named = {str(i): {"content": text, "special": True} for text, i in tokens.items()}
    own = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "added_tokens_decoder": named, **config}
    if code:
        auto = {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", None]}
        own |= {"tokenizer_class": "DreamTokenizer", "auto_map": auto}
        (folder / "tokenization_dream.py").write_text(CODE)
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    if not whole:
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        return
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(tokens))
    backend.save(str(folder / "tokenizer.json"))


def write_dream(folder: Path, *, settings: dict[str, Any] | None = None, **tokenizer: Any) -> Path:
    """Write the whole directory, with random weights under the published names."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    sizes = {name: value for name, value in SETTINGS.items() if isinstance(value, int) and name != "mask_token_id"}
    Qwen2ForCausalLM(Qwen2Config(**sizes, tie_word_embeddings=False)).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    given = {**SETTINGS, **(settings or {})}
    (folder / "config.json").write_text(json.dumps({name: value for name, value in given.items() if value is not None}))
    (folder / "modeling_dream.py").write_text(CODE)
    (folder / "configuration_dream.py").write_text(CODE)
    tokenizer_files(folder, **tokenizer)
    return folder
