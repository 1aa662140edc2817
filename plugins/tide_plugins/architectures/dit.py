"""``dit``: MDLM and BD3LM, the diffusion transformers that transformers has no class for. Imports no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from tide_specs import Architecture, CheckpointError, ConfigError, Denoiser, Role, Runtime, TextTokenizer

from .dit_network.published import DitForm, Shape, kind_of, model_length, native_form, read_shape
from .families.family import Settings
from .huggingface import read_json, read_settings

_PUBLISHED = {"hidden_size": 768, "layers": 12, "heads": 12, "conditioning_size": 128, "model_length": 1024}
"""Sizes of the published models, which random weights take where none are given."""


class Dit(Architecture):
    """MDLM (arXiv 2406.07524) and BD3LM (arXiv 2503.09573): published checkpoints, or random weights of any size.

    A transformer with rotary positions and adaptive layer norm, conditioned on no noise level. ``model`` is a directory as
    published (config.json and safetensors, without the Python code beside them); it says whether it is bidirectional (MDLM)
    or made for blocks (BD3LM). Either may be loaded as the other: BD3LM is trained from MDLM's weights. The published models
    use GPT-2's tokenizer, which their directories lack: name it with ``tokenizer_from``. The mask token takes the id behind
    the tokenizer's last one where it has none of its own, and is never predicted.

    Random weights start as published: every block, and the head, at zero.
    """

    name: Literal["dit"] = "dit"

    model: str | None = Field(
        default=None, description="directory with a published or saved checkpoint; null: random weights"
    )
    tokenizer_from: str | None = Field(
        default=None,
        description="directory, hub name, .gguf file or `package:NAME` of the tokenizer; default: the one in `model`",
    )
    form: DitForm | None = Field(
        default=None, description="bidirectional (MDLM) or block_diffusion (BD3LM); default: what config.json says"
    )
    block_size: PositiveInt | None = Field(
        default=None, description="tokens of a block of form block_diffusion; default: what config.json says"
    )
    hidden_size: PositiveInt | None = Field(default=None, description="hidden size of random weights; default: 768")
    layers: PositiveInt | None = Field(default=None, description="layers of random weights; default: 12")
    heads: PositiveInt | None = Field(default=None, description="attention heads of random weights; default: 12")
    conditioning_size: PositiveInt | None = Field(
        default=None, description="size of the conditioning vector of random weights; default: 128"
    )
    model_length: PositiveInt | None = Field(
        default=None, description="longest row of random weights, as their config.json will say; default: 1024"
    )
    dropout: float | None = Field(
        default=None, ge=0, lt=1, description="probability in training; default: what config.json says, 0 without one"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        sized = [name for name in _PUBLISHED if getattr(self, name) is not None]
        if self.model is not None and sized:
            raise ValueError(f"`model` has sizes of its own: leave `{sized[0]}` out")
        if self.model is None and self.tokenizer_from is None:
            raise ValueError("give `model` (a checkpoint), or `tokenizer_from` for random weights")
        if self.model is None and self.form is None:
            raise ValueError("random weights need `form`: bidirectional or block_diffusion")
        if self.model is None and self.form == "block_diffusion" and self.block_size is None:
            raise ValueError("form 'block_diffusion' needs `block_size`, e.g. block_size: 16")
        if self.form == "bidirectional" and self.block_size is not None:
            raise ValueError("form 'bidirectional' has no blocks: leave `block_size` out")
        hidden, heads = self._size("hidden_size"), self._size("heads")
        if hidden % (2 * heads):
            raise ValueError(f"`hidden_size` {hidden} is not an even multiple of `heads` {heads}")
        return self

    def _size(self, name: str) -> int:
        given: int | None = getattr(self, name)
        return _PUBLISHED[name] if given is None else given

    @classmethod
    def recognises(cls, path: str) -> bool:
        """By the model type or the class names in ``config.json``."""
        return kind_of(read_settings(path)) is not None

    @property
    def settings(self) -> Settings:
        """The checkpoint's own ``config.json``, or the row length of random weights. Raises ``CheckpointError``."""
        if self.model is None:
            return {"model_length": self._size("model_length")}
        if not Path(self.model).is_dir():
            raise CheckpointError(f"{self.model}: no such directory; download the checkpoint and name its directory")
        found = read_json(Path(self.model) / "config.json", "copy or download it again")
        if not found:
            raise CheckpointError(
                f"{Path(self.model) / 'config.json'}: missing; a checkpoint needs it beside its weights"
            )
        return found

    @property
    def denoiser_form(self) -> DitForm:
        """The form given, or the checkpoint's own."""
        return self.form or native_form(self.settings)[0]

    @property
    def block(self) -> int | None:
        """Tokens of a block, ``None`` for the bidirectional form. Raises ``ConfigError``."""
        if self.denoiser_form == "bidirectional":
            if self.block_size is not None:
                raise ConfigError(
                    "dit: the checkpoint is bidirectional: leave `block_size` out, or say form: block_diffusion"
                )
            return None
        block = self.block_size or native_form(self.settings)[1]
        if block is None:
            raise ConfigError("dit: form 'block_diffusion' needs `block_size`, e.g. block_size: 16")
        if block >= (longest := model_length(self.settings)):
            raise ConfigError(
                f"dit: a block of {block} tokens covers the whole row of {longest}: say form: bidirectional, which is the same"
            )
        return block

    @property
    def length_multiple(self) -> int:
        """Rows are filled up to a multiple of the block size."""
        return self.block or 1

    def shape(self, vocabulary: int | None) -> Shape:
        """Return the sizes of the network; ``vocabulary`` is that of random weights."""
        if self.model is not None:
            read = read_shape(self.settings, str(Path(self.model) / "config.json"))
            return read if self.dropout is None else replace(read, dropout=self.dropout)
        return Shape(
            vocabulary=vocabulary or 0,
            hidden=self._size("hidden_size"),
            layers=self._size("layers"),
            heads=self._size("heads"),
            conditioning=self._size("conditioning_size"),
            dropout=self.dropout or 0.0,
        )

    def attention_needs(self) -> frozenset[str]:
        """Return the layout of the form; a decoding session asks for ``cached`` as well."""
        return frozenset({"full" if self.denoiser_form == "bidirectional" else "block_diffusion"})

    def saved_at(self, path: str) -> Self:
        """Return the component for a saved model, whose tokenizer and config.json are beside it."""
        return type(self)(model=path, dropout=self.dropout)

    def check(self, *, trust_remote_code: bool) -> None:
        """Look for missing, truncated and pickled files, and for a config.json that is not of these models."""
        from .adapter.files import check_safetensors, refuse_missing, weight_files

        if self.tokenizer_from is not None:
            refuse_missing(self.tokenizer_from)
        if self.model is not None:
            self.shape(None)
            for file in weight_files(Path(self.model)):
                check_safetensors(file)

    def tokenizer(self, role: Role) -> TextTokenizer:
        """Return the tokenizer with its mask token. Raises ``DataError`` where it does not fill the checkpoint's vocabulary."""
        from .dit_network.tokens import read_tokenizer

        vocabulary = None if self.model is None else self.shape(None).vocabulary
        return read_tokenizer(self.model, self.tokenizer_from, vocabulary)

    def load(self, role: Role, runtime: Runtime) -> Denoiser:
        """Read or initialise the network. Raises ``CheckpointError`` naming the file, the field or the key."""
        from .dit_network.loading import load

        return load(self, role, runtime)

    def plan(self) -> dict[str, Any]:
        """Return parameter counts and sizes, without reading weights."""
        from .dit_network.loading import plan

        return plan(self)
