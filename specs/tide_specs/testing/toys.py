"""Tiny models for checks and for authors' own tests. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveInt

from tide_specs.byte_tokenizer import ByteTokenizer
from tide_specs.denoiser import Denoiser, Form, Role, Runtime
from tide_specs.module_architecture import ModuleArchitecture
from tide_specs.text import TextTokenizer

from .texts import WORDS

if TYPE_CHECKING:
    from torch import nn

FORMS: tuple[Form, ...] = ("bidirectional", "block_causal", "block_diffusion", "autoregressive")


class ToyArchitecture(ModuleArchitecture):
    """A transformer of a few thousand parameters over bytes, in every form."""

    name: Literal["toy"] = "toy"
    hidden: PositiveInt = Field(default=16, description="hidden size, a multiple of two")
    layers: PositiveInt = Field(default=2, description="number of layers")
    words: bool = Field(default=False, description="use a vocabulary of short words instead of bytes")

    def tokenizer(self, role: Role) -> TextTokenizer:
        """Return the saved tokenizer, or one of bytes or words."""
        if self.model is None and self.words:
            return ByteTokenizer(WORDS, short_headers=True)
        return super().tokenizer(role)

    def build(self, vocabulary: int, runtime: Runtime) -> nn.Module:
        """Return the transformer."""
        from .toy_transformer import ToyTransformer

        return ToyTransformer(vocabulary, runtime.attention, hidden=self.hidden, layers=self.layers)

    def denoiser(self, module: nn.Module, tokenizer: TextTokenizer) -> Denoiser:
        """Wrap the transformer, with a decoding session."""
        from .toy_transformer import ToyDenoiser

        return ToyDenoiser(module, tokenizer, form=self.form, block_size=self.block_size)


def runtime(**given: Any) -> Runtime:
    """Return a runtime on the CPU in float32 with the kit's dense attention; ``given`` replaces fields of it."""
    import torch

    from .dense_attention import DenseAttention

    base: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32, "attention": DenseAttention()}
    return Runtime(**{**base, **given})


def toy_denoiser(form: Form = "bidirectional", *, block_size: int = 4, seed: int = 0, words: bool = False) -> Denoiser:
    """Return a tiny model with random weights, in evaluation mode."""
    blocks = block_size if form.startswith("block") else None
    architecture = ToyArchitecture(form=form, block_size=blocks, words=words)
    model = architecture.load("teacher", runtime(seed=seed))
    model.module.eval()
    return model
