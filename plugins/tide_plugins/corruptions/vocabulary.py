"""The ordinary tokens of a vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from tide_specs import DataError, TextTokenizer

_KEPT = 4
_recent: list[tuple[TextTokenizer, Tensor]] = []


def ordinary_ids(tokenizer: TextTokenizer, device: torch.device) -> Tensor:
    """Return the ids that stand for text [n] int64: neither special nor unused.

    Reading a vocabulary takes longer than a step, so the ids of the few tokenizers of a run are remembered.
    """
    for known, ids in _recent:
        if known is tokenizer and ids.device == device:
            return ids
    ids = torch.tensor(
        [i for i, piece in enumerate(tokenizer.token_bytes()) if piece], dtype=torch.int64, device=device
    )
    if ids.numel() == 0:
        raise DataError(
            "corruption 'uniform' found no ordinary token in the tokenizer's vocabulary; its token_bytes() are all None"
        )
    _recent.append((tokenizer, ids))
    del _recent[:-_KEPT]
    return ids
