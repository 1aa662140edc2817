"""The tokenizer of a diffusion transformer, whose mask token is one of the rows of its vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from tide_plugins.tokenizers.huggingface import HuggingFaceTokenizer, fast_tokenizer, resolve_mask_token
from tide_specs import DataError, TextTokenizer

from ..huggingface import PACKAGED

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json")


def read_tokenizer(model: str | None, tokenizer_from: str | None, vocabulary: int | None) -> TextTokenizer:
    """Return the tokenizer with its own mask token, or else with a new one behind its last id.

    ``vocabulary``: rows of the checkpoint, which the tokenizer must fill. Raises ``DataError`` naming both sizes.
    """
    source = tokenizer_from or str(model)
    if tokenizer_from is None and not any((Path(source) / name).is_file() for name in _TOKENIZER_FILES):
        raise DataError(f"{source}: holds no tokenizer; say `tokenizer_from`, for the published models GPT-2's")
    # The library's automatic choice would ask config.json, which names a model that it does not know.
    known = fast_tokenizer(source, "gpt2") if tokenizer_from is None else _load(source).tokenizer
    tokenizer = HuggingFaceTokenizer(known, mask_token_id=resolve_mask_token(known, None, add=True))
    if vocabulary is not None and tokenizer.vocabulary_size != vocabulary:
        raise DataError(
            f"{source}: the tokenizer has {tokenizer.vocabulary_size} ids, its mask token included, but config.json of "
            f"{model} says vocab_size {vocabulary}; say `tokenizer_from` with the tokenizer that the model was trained "
            "with, for the published models GPT-2's"
        )
    return tokenizer


def _load(source: str) -> HuggingFaceTokenizer:
    if source.startswith(PACKAGED):
        from tide_plugins.tokenizers.packaged import PackagedName, load_packaged

        return load_packaged(cast(PackagedName, source.removeprefix(PACKAGED)))
    return HuggingFaceTokenizer.from_path(source)
