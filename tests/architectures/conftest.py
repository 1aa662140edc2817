"""A byte tokenizer on disk, and tiny models of any family made from configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from arch_models import Make, tiny

from tide_plugins.attention.eager import Eager
from tide_specs import Runtime


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A byte-level tokenizer of 256 bytes and an end-of-turn token, without a mask token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def make(tokenizer_folder: str) -> Make:
    """Return ``tiny`` with the byte tokenizer filled in."""

    def build(model_type: str = "llama", form: str = "bidirectional", **options: Any) -> Any:
        return tiny(tokenizer_folder, model_type, form, **options)

    return build


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Eager(), seed=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "saved"
