"""Which tokens are hidden in which forward, so that the weighted sum of log-likelihoods estimates the bound.

Shapes: V views (noised versions) of a row, n tokens of the row, F forwards, m tokens of a group (text or block).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tide_specs import ConfigError, Denoiser

from .texts import Text


@dataclass(frozen=True, kw_only=True)
class Views:
    """The noised versions of one row.

    ids [n] int64: clean tokens; hidden [V, n] bool: positions that show the mask token; weight [V, n] float64: the
    negative log-likelihood is the sum of ``weight * -log p`` over all views and positions, in expectation.
    """

    ids: NDArray[np.int64]
    hidden: NDArray[np.bool_]
    weight: NDArray[np.float64]


def generator(seed: int, text: Text) -> np.random.Generator:
    """Return random numbers that depend on the seed and the text's identity alone, never on the model."""
    key = np.array([(seed << 32) ^ zlib.crc32(b"bits_per_byte"), (text.example << 20) ^ text.message], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def systematic(count: int, forwards: int, draws: np.random.Generator) -> NDArray[np.bool_]:
    """Return [F, m] masks of sizes k; one uniform number places the k of all forwards at equal distances in 1..m.

    Each k alone is uniform in 1..m, and given k the masked tokens are a uniform subset.
    """
    sizes = np.floor((np.arange(forwards) + draws.random()) / forwards * count).astype(np.int64) + 1
    order = draws.random((forwards, count)).argsort(axis=1).argsort(axis=1)
    return order < np.minimum(sizes, count)[:, None]


def views(text: Text, denoiser: Denoiser, forwards: int, draws: np.random.Generator) -> Views:
    """Return the views of a text for the denoiser's form."""
    if denoiser.form == "autoregressive":
        return _autoregressive(text)
    if denoiser.mask_token_id is None:
        raise ConfigError(
            "bits_per_byte needs a model with a mask token; this one's corruption replaces tokens by others"
        )
    if denoiser.block_size is None:
        return _whole(text, forwards, draws)
    size = denoiser.block_size
    groups = _blocks(text, size)
    row = _filled(text.ids, -(-text.last // size) * size)
    # A block-causal model reads one stream, so that the blocks before must be clean: one view per block and forward. A
    # block-diffusion model reads the clean stream as well, so that one view noises all blocks at once.
    apart = denoiser.form == "block_causal"
    masks = np.zeros((forwards, len(groups) if apart else 1, len(row)), dtype=np.bool_)
    weight = np.zeros(masks.shape)
    for number, group in enumerate(groups):
        place = number if apart else 0
        _add(masks[:, place], weight[:, place], group, draws)
    masks[:, -1, text.last :] = True
    return Views(ids=row, hidden=masks.reshape(-1, len(row)), weight=weight.reshape(-1, len(row)))


def _autoregressive(text: Text) -> Views:
    weight = np.zeros((1, text.last))
    weight[0, text.first :] = 1.0
    return Views(ids=text.ids[: text.last], hidden=np.zeros(weight.shape, dtype=np.bool_), weight=weight)


def _whole(text: Text, forwards: int, draws: np.random.Generator) -> Views:
    hidden = np.zeros((forwards, len(text.ids)), dtype=np.bool_)
    weight = np.zeros(hidden.shape)
    _add(hidden, weight, np.arange(text.first, text.last), draws)
    hidden[:, text.last :] = True
    return Views(ids=text.ids, hidden=hidden, weight=weight)


def _add(
    hidden: NDArray[np.bool_], weight: NDArray[np.float64], group: NDArray[np.intp], draws: np.random.Generator
) -> None:
    """Hide tokens of a group in each forward; a mean over the k hidden ones, times m, averaged over the forwards."""
    forwards, count = len(hidden), len(group)
    masks = systematic(count, forwards, draws)
    hidden[:, group] = masks
    weight[:, group] = masks * (count / (forwards * masks.sum(axis=1, keepdims=True)))


def _blocks(text: Text, size: int) -> list[NDArray[np.intp]]:
    """Return the content's positions, block by block; blocks are counted from the start of the row."""
    positions = np.arange(text.first, text.last)
    return [positions[positions // size == block] for block in np.unique(positions // size)]


def _filled(ids: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return ``ids`` cut or filled with its last token to ``length``; what is filled is hidden in every view."""
    return np.concatenate([ids[:length], np.full(max(0, length - len(ids)), ids[-1])])
