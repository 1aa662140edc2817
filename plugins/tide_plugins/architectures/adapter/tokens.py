"""The tokenizer of a model, and room for its mask token in the model's vocabulary.

Shapes: C rows of the vocabulary, H hidden size.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from tide_plugins.tokenizers.huggingface import HuggingFaceTokenizer, resolve_mask_token
from tide_specs import TextTokenizer

from ..huggingface import PACKAGED, HuggingFace


def read_tokenizer(component: HuggingFace) -> tuple[TextTokenizer, int]:
    """Return the component's tokenizer, and how many ids it had before a mask token was added."""
    source = component.tokenizer_from or str(component.model)
    tokenizer = _load(source)
    native = tokenizer.vocabulary_size
    named = component.named_mask_token
    if component.denoiser_form == "autoregressive" or (named is None and tokenizer.mask_token_id is not None):
        return tokenizer, native
    known: Any = tokenizer.tokenizer
    if named is not None and known.mask_token != named:
        known.mask_token = None
    mask = resolve_mask_token(known, named, add=True)
    return HuggingFaceTokenizer(known, mask_token_id=mask), native


def _load(source: str) -> HuggingFaceTokenizer:
    if source.startswith(PACKAGED):
        from tide_plugins.tokenizers.packaged import PackagedName, load_packaged

        return load_packaged(cast(PackagedName, source.removeprefix(PACKAGED)))
    return HuggingFaceTokenizer.from_path(source)


def fit_vocabulary(model: Any, tokenizer: TextTokenizer, native: int) -> None:
    """Make room for every id of the tokenizer, and give ids from ``native`` up the mean of the rows before them.

    Rows that already exist as padding (Qwen's 151,936 for 151,669 ids) are used without resizing.
    """
    wanted = tokenizer.vocabulary_size
    if wanted > int(model.get_input_embeddings().weight.shape[0]):
        model.resize_token_embeddings(wanted, mean_resizing=False)
    if wanted > native:
        for weight in vocabulary_weights(model):
            _mean_rows(weight, native, wanted)


def vocabulary_weights(model: Any) -> list[Tensor]:
    """Return the parameters that have one row per id: embedding, head and the head's bias, tied ones once."""
    output: Any = model.get_output_embeddings()
    candidates: list[Any] = [model.get_input_embeddings().weight, output.weight, getattr(output, "bias", None)]
    return list({id(weight): weight for weight in candidates if weight is not None}.values())


@torch.no_grad()
def _mean_rows(weight: Tensor, start: int, stop: int) -> None:
    weight[start:stop] = weight[:start].float().mean(dim=0).to(weight.dtype)
