"""Models that are not loaded: what noising a batch asks of them, and nothing else."""

from __future__ import annotations

from torch import Tensor, nn

from tide_core.recording.identity import block_of
from tide_specs import Architecture, Denoiser, Head, TextTokenizer


class StandIn(Denoiser):
    """Tokenizer, form and block size of a model without its weights."""

    def __init__(self, architecture: Architecture, tokenizer: TextTokenizer) -> None:
        self.form = architecture.denoiser_form
        self.block_size = block_of(architecture)
        self.tokenizer = tokenizer
        self.mask_token_id = tokenizer.mask_token_id
        self.module = nn.Module()

    def hidden(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError("this model was not loaded")

    def head(self) -> Head:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError("this model was not loaded")

    def save(self, path: str) -> None:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError("this model was not loaded")
