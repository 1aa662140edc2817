"""Which token a denoiser's states predict: the cross-entropy of hidden tokens under several shifts.

Shapes: L tokens, N positions that are compared.
"""

# torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import torch
from torch import Tensor

from tide_specs.denoiser import Denoiser

from .models import hide
from .texts import text

TEXT = (
    "The quick brown fox jumps over the lazy dog. The sun rises in the east and sets in the west. "
    "One, two, three, four, five, six, seven, eight, nine, ten. Monday, Tuesday, Wednesday, Thursday, Friday. "
    "import os\nimport sys\n\ndef main():\n    return 0\n\nif __name__ == '__main__':\n    main()\n"
)
"""What any trained language model knows something of."""


@torch.no_grad()
def masked_cross_entropy(model: Denoiser, content: str = TEXT) -> dict[int, Tensor]:
    """Return offset -> cross-entropies [N] of token i + offset under the states at i, for the same positions i.

    Only tokens that the model cannot see are compared, so that no offset wins by copying: the middle of three masked
    tokens in a row, and for an autoregressive model the offsets 0 and 1 alone.
    """
    (encoded,) = model.tokenizer.encode([text(content)])
    clean = torch.from_numpy(encoded.ids).long()[None]
    length = clean.shape[1] - clean.shape[1] % (model.block_size or 1)
    clean = clean[:, :length]
    if model.form == "autoregressive":
        hidden = model.hidden(clean, clean, torch.tensor([length]))[0]
        return _by_offset(model, hidden, clean[0], torch.arange(1, length - 1), (0, 1))
    place = torch.arange(length)
    hidden = torch.zeros(0)
    found: dict[int, list[Tensor]] = {-1: [], 0: [], 1: []}
    for start in range(1, 6):
        middle = place[(place % 5 == start % 5) & (place > 1) & (place < length - 1)]
        if not len(middle):
            continue
        hole = torch.zeros_like(clean, dtype=torch.bool)
        for offset in (-1, 0, 1):
            hole[0, middle + offset] = True
        noised = hide(clean, hole, model)
        hidden = model.hidden(noised, clean, torch.tensor([length]))[0]
        for offset, values in _by_offset(model, hidden, clean[0], middle, (-1, 0, 1)).items():
            found[offset].append(values)
    return {offset: torch.cat(values) for offset, values in found.items()}


def _by_offset(
    model: Denoiser, hidden: Tensor, clean: Tensor, places: Tensor, offsets: tuple[int, ...]
) -> dict[int, Tensor]:
    return {offset: -model.head().log_likelihood(hidden[places], clean[places + offset]) for offset in offsets}
