"""The tokenizer of a model, and room for its mask token in the model's vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tide_specs import TextTokenizer

_PACKAGED = "package:"


def load_tokenizer(source: str, *, mask_token: str | None, add_mask_token: bool) -> TextTokenizer:
    """Return the tokenizer of a directory, hub name, .gguf file or installed package (``package:NAME``)."""
    if source.startswith(_PACKAGED):
        from tide_plugins.tokenizers.packaged import load_packaged

        return load_packaged(source.removeprefix(_PACKAGED), mask_token=mask_token, add_mask_token=add_mask_token)
    from tide_plugins.tokenizers.huggingface import HuggingFaceTokenizer

    folder, file = split_gguf(source)
    return HuggingFaceTokenizer.from_path(folder, mask_token=mask_token, add_mask_token=add_mask_token, gguf_file=file)


def split_gguf(source: str) -> tuple[str, str | None]:
    """Return (folder, file name) for a .gguf path, (source, None) for anything else."""
    if source.endswith(".gguf"):
        return str(Path(source).parent), Path(source).name
    return source, None


def fit_vocabulary(model: Any, tokenizer: TextTokenizer, native_size: int) -> None:
    """Make room for every id of the tokenizer, and give ids from ``native_size`` up the mean of the others' rows.

    Rows that already exist as padding (Qwen's 151,936 for 151,669 ids) are used without resizing.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])
    wanted = tokenizer.vocabulary_size
    if wanted > rows:
        model.resize_token_embeddings(wanted, mean_resizing=False)
    if wanted > native_size:
        _mean_rows(model, native_size, wanted)


@torch.no_grad()
def _mean_rows(model: Any, start: int, stop: int) -> None:
    weights = [model.get_input_embeddings().weight]
    output: Any = model.get_output_embeddings()
    if output.weight is not weights[0]:
        weights.append(output.weight)
    if getattr(output, "bias", None) is not None:
        weights.append(output.bias)
    for weight in weights:
        weight[start:stop] = weight[:start].float().mean(dim=0).to(weight.dtype)
