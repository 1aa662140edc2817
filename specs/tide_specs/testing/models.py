"""Loading a model under check, and random rows for it.

Shapes: B rows, L tokens, H hidden size.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tide_specs.architecture import Architecture
from tide_specs.denoiser import Denoiser, Role
from tide_specs.text import TextTokenizer

from .outcome import CheckSkipped
from .toys import runtime

ROLES: tuple[Role, Role] = ("student", "teacher")
SAME = {"rtol": 1e-3, "atol": 2e-4}
"""Two float32 forward passes over other shapes of the same problem."""


@dataclass(frozen=True)
class Problem:
    """Random rows: clean ids [B, L], the noised ones, and where they are masked."""

    clean: Tensor
    noised: Tensor
    masked: Tensor
    lengths: Tensor

    def hidden(self, model: Denoiser, **given: Any) -> Tensor:
        """Run the model without gradient [B, L, H]."""
        sides = {"noised": self.noised, "clean": self.clean, "lengths": self.lengths, **given}
        with torch.no_grad():
            return model.hidden(sides["noised"], sides["clean"], sides["lengths"], sides.get("documents"))


def roles(architecture: Architecture) -> list[Role]:
    """Return the roles that the component serves."""
    return [role for role in ROLES if architecture.serves(role) is None]


def load(architecture: Architecture, role: Role | None = None, **given: Any) -> Denoiser:
    """Load the model with the kit's dense attention, in evaluation mode."""
    served = roles(architecture)
    if not served:
        raise CheckSkipped(f"it serves neither role: {architecture.serves('teacher')}")
    if architecture.cache_path is not None:
        raise CheckSkipped("it has no model: the answers of one were written down")
    model = architecture.load(role or served[-1], runtime(**given))
    model.module.eval()
    return model


def problem(model: Denoiser, rows: int = 2, *, blocks: int = 3, seed: int = 0) -> Problem:
    """Return random rows of ``blocks`` blocks (of 12 tokens where the form has no blocks)."""
    length = blocks * model.block_size if model.block_size else 4 * blocks
    random = torch.Generator().manual_seed(seed)
    words = ordinary(model.tokenizer)
    clean = words[torch.randint(len(words), (rows, length), generator=random)]
    masked = torch.rand(rows, length, generator=random) < 0.5
    masked[:, 0] = False
    masked[:, 2] = masked[:, -2] = True
    return Problem(clean, hide(clean, masked, model), masked, torch.full((rows,), length))


def hide(clean: Tensor, masked: Tensor, model: Denoiser) -> Tensor:
    """Hide tokens as the model's corruption does: behind its mask token, or replaced by others where it has none.

    An autoregressive model reads clean tokens alone.
    """
    if model.mask_token_id is not None:
        return clean.masked_fill(masked, model.mask_token_id)
    return clean if model.form == "autoregressive" else torch.where(masked, other(clean, model), clean)


def ordinary(tokenizer: TextTokenizer) -> Tensor:
    """Return ids that stand for text, a thousand at most."""
    return torch.tensor([i for i, piece in enumerate(tokenizer.token_bytes()) if piece][:1000])


def other(ids: Tensor, model: Denoiser) -> Tensor:
    """Return other ordinary ids, one for each."""
    words = ordinary(model.tokenizer)
    place = torch.searchsorted(words, ids).clamp(max=len(words) - 1)
    return words[(place + 1) % len(words)]
