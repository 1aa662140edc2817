"""Fixtures for authors' own tests. Loaded by pytest wherever TIDE is installed, so it imports nothing heavy.

``tide_denoiser``: a function (form, block_size, seed, words) -> a tiny model. ``tide_tokenizers``: name -> small tokenizer;
``tide_real_tokenizer``: a function from a name to a published model's tokenizer. ``tide_batch``: an aligned batch of both sides.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

import pytest

from tide_specs.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tide_specs.batch import Batch
    from tide_specs.denoiser import Denoiser
    from tide_specs.text import TextTokenizer


@pytest.fixture
def tide_denoiser() -> Callable[..., Denoiser]:
    """Return ``toy_denoiser``, which makes tiny models with random weights in every form."""
    from tide_specs.testing.toys import toy_denoiser

    return toy_denoiser


@pytest.fixture
def tide_tokenizers() -> dict[str, TextTokenizer]:
    """Return small tokenizers: of bytes, of words, of other words, and of the same words in another template."""
    from tide_specs.testing import texts

    return {
        "bytes": texts.byte_tokenizer(),
        "words": texts.word_tokenizer(),
        "other": texts.other_tokenizer(),
        "padded": texts.padded_tokenizer(),
    }


@pytest.fixture(scope="session")
def tide_real_tokenizer() -> Callable[[str], TextTokenizer]:
    """Return a function from a name (qwen, deepseek, smollm2, tekken, mistral-sp, minilm) to that model's tokenizer.

    They come in packages (extra ``examples``); the function skips the test where a package is not installed.
    """

    def real(name: str) -> TextTokenizer:
        # By name: the contract does not depend on the bundled plugins, which know how to unpack these tokenizers.
        try:
            packaged = importlib.import_module("tide_plugins.tokenizers.packaged")
            tokenizer: TextTokenizer = packaged.load_packaged(name, add_mask_token=True)
        except (ImportError, UnavailableError) as reason:
            pytest.skip(str(reason))
        return tokenizer

    return functools.cache(real)


@pytest.fixture
def tide_batch() -> Batch:
    """Return a batch of texts and conversations: student over words, teacher over bytes."""
    from tide_specs.testing import texts
    from tide_specs.testing.batches import make_batch

    return make_batch(texts.examples(), texts.word_tokenizer(), texts.byte_tokenizer(), multiple=4)
