"""Which position of a model predicts which token: a wrong answer is the commonest silent error of this field.

Shapes: B rows, L tokens, N masked positions, H hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tide_specs import ConfigError

from ..families.family import Shift
from .denoiser import TransformersDenoiser, denoiser


@dataclass(frozen=True, kw_only=True)
class ShiftFinding:
    """Masked cross-entropy in nats per token under both shifts, and the shift that fits."""

    none: float
    right: float
    configured: Shift

    @property
    def fits(self) -> Shift:
        """The shift with the lower cross-entropy."""
        return "none" if self.none <= self.right else "right"

    @property
    def agrees(self) -> bool:
        """Whether the model is configured with the shift that fits."""
        return self.fits == self.configured

    def __str__(self) -> str:
        verdict = "as configured" if self.agrees else f"but it is configured with shift: {self.configured}"
        return (
            f"masked cross-entropy {self.none:.3f} (none), {self.right:.3f} (right): shift: {self.fits} fits, {verdict}"
        )


@torch.no_grad()
def detect_shift(
    model: TransformersDenoiser,
    ids: Tensor,
    lengths: Tensor,
    *,
    maskable: Tensor | None = None,
    ratio: float = 0.3,
    seed: int = 0,
) -> ShiftFinding:
    """Compare masked cross-entropy under both shifts on real text: ids [B, L], lengths [B], maskable [B, L].

    Masks a ``ratio`` of the maskable tokens (default: all but each row's first). Raises ``ConfigError`` for an
    autoregressive model, whose shift is always ``right``, and when nothing can be masked.
    """
    if model.mask_token_id is None:
        raise ConfigError("detect_shift: an autoregressive model always predicts the next token")
    index = torch.arange(ids.shape[1], device=ids.device)
    allowed = (index[None] > 0) & (index[None] < lengths[:, None])
    chosen = torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)).to(ids.device) < ratio
    masked = chosen & (allowed if maskable is None else allowed & maskable)
    if not bool(masked.any()):
        raise ConfigError("detect_shift: no token was masked; give longer rows or a larger ratio")
    noised = ids.masked_fill(masked, model.mask_token_id)
    training = model.module.training
    model.module.eval()
    try:
        none, right = (_cross_entropy(model, shift, noised, ids, lengths, masked) for shift in ("none", "right"))
    finally:
        model.module.train(training)
    return ShiftFinding(none=none, right=right, configured=model.record.shift)


def _cross_entropy(
    model: TransformersDenoiser, shift: Shift, noised: Tensor, ids: Tensor, lengths: Tensor, masked: Tensor
) -> float:
    shifted = denoiser(model.network, model.tokenizer, replace(model.record, shift=shift))
    hidden = shifted.hidden(noised, ids, lengths)[masked]
    return -float(shifted.head().log_likelihood(hidden, ids[masked]).mean())
