"""Fixtures for authors' own tests. Loaded by pytest wherever TIDE is installed, so it imports nothing heavy.

``tide_denoiser``: a function (form, block_size, seed, words) -> a tiny model. ``tide_tokenizers``: name -> tokenizer.
``tide_batch``: an aligned batch of both sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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


@pytest.fixture
def tide_batch() -> Batch:
    """Return a batch of texts and conversations: student over words, teacher over bytes."""
    from tide_specs.testing import texts
    from tide_specs.testing.batches import make_batch

    return make_batch(texts.examples(), texts.word_tokenizer(), texts.byte_tokenizer(), multiple=4)
