"""A model family that is one torch module: say how to build it, and the rest follows."""

# torch's and safetensors' stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import Field, PositiveInt, model_validator

from .architecture import Architecture
from .attention import AttentionBackend
from .byte_tokenizer import ByteTokenizer
from .denoiser import Denoiser, Form, Role, Runtime
from .text import TextTokenizer

if TYPE_CHECKING:
    from torch import nn

LAYOUTS: dict[Form, str] = {
    "bidirectional": "full",
    "autoregressive": "causal",
    "block_causal": "block_causal",
    "block_diffusion": "block_diffusion",
}


class ModuleArchitecture(Architecture):
    """Implement ``build``; the module is then loaded, run in the chosen form, saved and counted.

    ``build`` returns a module as ``ModuleDenoiser`` wants it. The tokenizer is a ``ByteTokenizer`` unless ``tokenizer`` is
    overridden. A module whose layers attend calls ``runtime.attention.attend``.
    """

    model: str | None = Field(default=None, description="directory with saved weights; null: random weights")
    form: Form = Field(
        default="bidirectional",
        description="bidirectional, block_diffusion, block_causal or autoregressive (teacher only)",
    )
    block_size: PositiveInt | None = Field(default=None, description="tokens of a block; needed by the block forms")

    @model_validator(mode="after")
    def _blocks_fit_form(self) -> Self:
        if self.form.startswith("block") and self.block_size is None:
            raise ValueError(f"form {self.form!r} needs `block_size`, e.g. block_size: 32")
        if not self.form.startswith("block") and self.block_size is not None:
            raise ValueError(f"form {self.form!r} has no blocks: leave `block_size` out")
        return self

    @abstractmethod
    def build(self, vocabulary: int, runtime: Runtime) -> nn.Module:
        """Return the module for a vocabulary of this size, with random weights."""
        raise NotImplementedError

    @property
    def denoiser_form(self) -> Form:
        """The option ``form``."""
        return self.form

    @property
    def length_multiple(self) -> int:
        """The block size of the block forms."""
        return self.block_size or 1

    def serves(self, role: Role) -> str | None:
        """An autoregressive form reads only clean tokens, so it cannot be a student."""
        if role == "student" and self.form == "autoregressive":
            return "form 'autoregressive' reads only clean tokens, so it serves as teacher only"
        return super().serves(role)

    def attention_needs(self) -> frozenset[str]:
        """Return the layout of the form."""
        return frozenset({LAYOUTS[self.form]})

    def tokenizer(self, role: Role) -> TextTokenizer:
        """Return the saved tokenizer, or a plain ``ByteTokenizer``."""
        return ByteTokenizer() if self.model is None else ByteTokenizer.from_path(self.model)

    def load(self, role: Role, runtime: Runtime) -> Denoiser:
        """Build the module, seeded by the runtime, and read saved weights into it where there are any."""
        import torch

        from .module_denoiser import restore

        tokenizer = self.tokenizer(role)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(runtime.seed)
            module = self.build(tokenizer.vocabulary_size, runtime)
        if self.model is not None:
            restore(module, self.model)
        return self.denoiser(module.to(runtime.device, runtime.dtype), tokenizer)

    def denoiser(self, module: nn.Module, tokenizer: TextTokenizer) -> Denoiser:
        """Wrap the module; override for a denoiser of one's own, for instance one with a decoding session."""
        from .module_denoiser import ModuleDenoiser

        return ModuleDenoiser(module, tokenizer, form=self.form, block_size=self.block_size)

    def plan(self) -> dict[str, Any]:
        """Count parameters on the meta device."""
        import torch

        device = torch.device("meta")
        # Building a module stores the backend and calls nothing of it.
        runtime = Runtime(device=device, dtype=torch.float32, attention=cast(AttentionBackend, None))
        vocabulary = self.tokenizer("student").vocabulary_size
        with device:
            counts = [p.numel() for p in self.build(vocabulary, runtime).parameters()]
        return {"parameters": sum(counts), "trainable_parameters": sum(counts), "vocabulary": vocabulary}
