"""``huggingface``: any causal or masked language model of transformers as a denoiser. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import Field, PositiveInt, model_validator

from tide_specs import Architecture, CheckpointError, ConfigError, Denoiser, Form, Role, Runtime, TextTokenizer

from .adapter.lora import Lora
from .families import FAMILIES, Family, Semantics, recognise
from .families.family import Order, Settings, Shift, Variant

RECORD = "tide.json"
"""File beside a saved model that restores how it denoises."""
BLOCK_FORMS: tuple[Form, ...] = ("block_diffusion", "block_causal")
LAYOUTS: dict[Form, str] = {
    "bidirectional": "full",
    "autoregressive": "causal",
    "block_causal": "block_causal",
    "block_diffusion": "block_diffusion",
}


PACKAGED = "package:"
"""Prefix of a tokenizer or model that an installed Python package brings."""


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Return the object in a JSON file, empty when there is no such file. Raises ``CheckpointError``."""
    if not path.is_file():
        return {}
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error}); {remedy}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: not a JSON object; {remedy}")
    return cast("dict[str, Any]", found)


def local_folder(source: str) -> Path | None:
    """Return the directory of a model on this disk: itself, or the cached copy of a hub name; ``None`` without one."""
    folder = Path(source)
    if folder.is_dir():
        return folder
    if source.count("/") != 1 or source[0] in "./" or source.startswith(PACKAGED) or source.endswith(".gguf"):
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(source, "config.json")
    return Path(cached).parent if isinstance(cached, str) else None


def read_settings(source: str) -> dict[str, Any]:
    """Return the ``config.json`` of a model directory, or of a hub name whose copy is on this disk; empty without one."""
    folder = local_folder(source)
    return {} if folder is None else read_json(folder / "config.json", "copy or download it again")


class HuggingFace(Architecture):
    """A language model of transformers, used through its own classes without a line of model code.

    The library's attention hook is replaced by a function that receives a symbolic layout, so that LlamaForCausalLM, say,
    becomes a bidirectional or block-diffusion denoiser. Models whose layers mix positions outside that hook (recurrent,
    convolutional, encoder-decoder) are refused by name when they load.

    Published diffusion models (LLaDA, Dream, ...) are recognised by their ``config.json`` and read into the library's classes
    without the code that comes with them.

    ``form``, ``block_size``, ``shift``, ``order``, ``causal`` and ``mask_token`` default to what ``tide.json`` in the model
    directory records, which TIDE writes beside every model it saves, and else to how the model's family denoises.
    """

    name: Literal["huggingface"] = "huggingface"
    families: ClassVar[Sequence[Family]] = FAMILIES
    """Families that are recognised; a plugin's subclass may list its own."""

    model: str | None = Field(
        default=None, description="directory, hub name, .gguf file or `package:NAME` with pretrained weights"
    )
    config: dict[str, Any] | None = Field(
        default=None, description="model_type and sizes of a model with random weights, instead of `model`"
    )
    tokenizer_from: str | None = Field(
        default=None,
        description="directory, hub name, .gguf file or `package:NAME` of the tokenizer when it differs from `model`",
    )
    form: Form | None = Field(
        default=None, description="bidirectional, block_diffusion, block_causal or autoregressive (teacher only)"
    )
    block_size: PositiveInt | None = Field(default=None, description="tokens of a block; needed by the block forms")
    mask_token: str | None = Field(
        default=None,
        description="an existing token that serves as mask; default: the tokenizer's own, or else a new token",
    )
    shift: Shift | None = Field(
        default=None, description="none: native logits at i predict token i; right: they predict token i + 1"
    )
    order: Order | None = Field(
        default=None, description="noisy_first reads [x_t, x_0], clean_first [x_0, x_t]; block_diffusion only"
    )
    causal: bool | None = Field(default=None, description="block_diffusion only: causal inside each block as well")
    variant: Variant = Field(
        default="native",
        description="native: a recognised family denoises as its authors run it; published: as TIDE's released trainer runs it",
    )
    freeze: tuple[str, ...] = Field(
        default=(), description="patterns of parameter names that are not trained, e.g. `model.embed_tokens.*`"
    )
    dropout: Literal["native", "off"] = Field(
        default="native", description="off sets every dropout probability of the model's configuration to zero"
    )
    pad_vocabulary_to: PositiveInt = Field(
        default=1, description="round the vocabulary of a `config` model up to a multiple of this"
    )
    check_shift: bool = Field(
        default=True,
        description="warn when pretrained weights fit the other `shift` clearly better: two short forwards",
    )
    lora: Lora | None = Field(
        default=None,
        description="student only: {rank: 16, alpha: 32, dropout: 0, targets: []} trains low-rank adapters, and the mask "
        "token's row, instead of all weights",
    )
    quantization: Literal["4bit", "8bit"] | None = Field(
        default=None, description="teacher only: hold the weights in 4 or 8 bits, through bitsandbytes on CUDA"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.model is None) == (self.config is None):
            raise ValueError("give exactly one of `model` (pretrained weights) and `config` (random weights)")
        if self.config is not None and not isinstance(self.config.get("model_type"), str):
            raise ValueError(
                "`config` needs a `model_type` of transformers, e.g. {model_type: llama, hidden_size: 128}"
            )
        if self.config is not None and self.tokenizer_from is None:
            raise ValueError("a model made from `config` has no tokenizer of its own: give `tokenizer_from`")
        if self.form in BLOCK_FORMS and self.block_size is None and not self._recorded() and self.family is None:
            raise ValueError(f"form {self.form!r} needs `block_size`, e.g. block_size: 32")
        if self.form in ("bidirectional", "autoregressive") and self.block_size is not None:
            raise ValueError(f"form {self.form!r} has no blocks: leave `block_size` out")
        if self.form == "autoregressive" and self.shift == "none":
            raise ValueError("an autoregressive model predicts the next token: leave `shift` out")
        if self.quantization is not None and self.config is not None:
            raise ValueError("`quantization` is for pretrained weights: leave it out, or give `model`")
        if self.lora is not None and self.freeze:
            raise ValueError("with `lora` only the adapters are trained: leave `freeze` out")
        for option in ("order", "causal"):
            if getattr(self, option) is not None and self.form not in (None, "block_diffusion"):
                raise ValueError(f"`{option}` belongs to form 'block_diffusion'")
        return self

    @property
    def source(self) -> str:
        """Where the pretrained weights are, with `package:NAME` resolved to the file that the package brings."""
        if not str(self.model).startswith(PACKAGED):
            return str(self.model)
        from tide_plugins.tokenizers.packaged import packaged_weights

        return packaged_weights(str(self.model).removeprefix(PACKAGED))

    def _recorded(self) -> dict[str, Any]:
        """Return what ``tide.json`` beside the weights says; empty when there is none."""
        folder = None if self.model is None else local_folder(self.model)
        return {} if folder is None else read_json(folder / RECORD, "save the model again")

    def _setting(self, option: str, default: Any) -> Any:
        given = getattr(self, option, None)
        if given is not None:
            return given
        record = self._recorded()
        # A form given by hand makes the recorded block options of another form meaningless.
        if option in ("block_size", "order", "causal", "observed_first", "shift") and self.form not in (
            None,
            record.get("form"),
        ):
            return default
        found = record.get(option)
        if found is None and (native := self._semantics()) is not None and self.form in (None, native.form):
            found = getattr(native, option, None)
        return default if found is None else found

    @property
    def settings(self) -> Settings:
        """The model directory's own ``config.json``; empty where there is none."""
        return {} if self.model is None else read_settings(self.source)

    @property
    def family(self) -> Family | None:
        """The published family that the model is recognised as."""
        return recognise(self.settings, self.families)

    def _semantics(self) -> Semantics | None:
        family = self.family
        return None if family is None else family.semantics(self.settings, self.variant)

    @property
    def denoiser_form(self) -> Form:
        """The form given, or the one recorded in ``tide.json``. Raises ``ConfigError`` when neither says."""
        form: Form | None = self._setting("form", None)
        if form is None:
            if self.model is not None:
                from .adapter.files import refuse_missing

                refuse_missing(self.model)
            raise ConfigError(
                f"huggingface: `form` is missing, and {self.model or 'the model'} has no {RECORD} that records it: "
                f"give one of {', '.join(LAYOUTS)}"
            )
        return form

    @property
    def block(self) -> int | None:
        """Tokens of a block, ``None`` for forms without blocks."""
        if self.denoiser_form not in BLOCK_FORMS:
            return None
        block: int | None = self._setting("block_size", None)
        if block is None:
            raise ConfigError(f"huggingface: form {self.denoiser_form!r} needs `block_size`, e.g. block_size: 32")
        return block

    @property
    def native_shift(self) -> Shift:
        """Whether native logits at i predict token i or i + 1; an autoregressive model always predicts i + 1."""
        return "right" if self.denoiser_form == "autoregressive" else self._setting("shift", "none")

    @property
    def named_mask_token(self) -> str | None:
        """The mask token given, or the one recorded in ``tide.json`` for the tokenizer beside it."""
        if self.tokenizer_from is not None:
            return self.mask_token
        family = self.family
        return self._setting("mask_token", None if family is None else family.mask_token)

    @property
    def stream_order(self) -> Order:
        """Order of the noisy and the clean stream in the input of a block-diffusion model."""
        return self._setting("order", "noisy_first")

    @property
    def causal_blocks(self) -> bool:
        """Whether a block-diffusion model is causal inside its blocks."""
        return bool(self._setting("causal", False))

    @property
    def moves_observed_first(self) -> bool:
        """Whether the visible tokens of a noisy block come before its masked ones, at their own positions (WeDLM)."""
        return bool(self._setting("observed_first", False))

    @property
    def length_multiple(self) -> int:
        """Rows are filled up to a multiple of the block size."""
        return self.block or 1

    def attention_needs(self) -> frozenset[str]:
        """Return the layout of the form; a decoding session asks for ``cached`` as well."""
        return frozenset({LAYOUTS[self.denoiser_form]})

    def saved_at(self, path: str) -> Self:
        """Return the component for a saved model: ``tide.json`` there says how it denoises, and its tokenizer is there."""
        return type(self)(model=path, freeze=self.freeze, dropout=self.dropout, check_shift=self.check_shift)

    def serves(self, role: Role) -> str | None:
        """Return why this cannot be the student (autoregressive, quantized) or the teacher (``lora``); else ``None``."""
        if role == "student" and self.quantization is not None:
            return "`quantization` holds weights in a few bits, which cannot be trained; it serves as teacher"
        if role == "teacher" and self.lora is not None:
            return "`lora` adds adapters to be trained, and a teacher is not trained: leave it out"
        if role == "student" and self.denoiser_form == "autoregressive":
            return (
                "form 'autoregressive' reads only clean tokens, so that it cannot learn to denoise; it serves as teacher. "
                "Give the student form 'block_diffusion' or 'bidirectional'"
            )
        return super().serves(role)

    def check(self, *, trust_remote_code: bool) -> None:
        """Look for missing, truncated and pickled files, and for options that the model type does not have."""
        from .adapter.checks import check

        check(self, trust_remote_code=trust_remote_code)

    def tokenizer(self, role: Role) -> TextTokenizer:
        """Return the tokenizer; a mask token is added where it has none, except for autoregressive models."""
        from .adapter.tokens import read_tokenizer

        return read_tokenizer(self)[0]

    def trusted_tokenizer(self, role: Role) -> TextTokenizer:
        """Return the tokenizer; it may bring code of its own, which runs."""
        from .adapter.tokens import read_tokenizer

        return read_tokenizer(self, trust_remote_code=True)[0]

    def load(self, role: Role, runtime: Runtime) -> Denoiser:
        """Load or initialise the model, verify it, and return it as a denoiser of the configured form."""
        from .adapter.loading import load

        return load(self, role, runtime)

    def plan(self) -> dict[str, Any]:
        """Return parameter counts and sizes, from the configuration alone, on the meta device."""
        from .adapter.loading import plan

        return plan(self)

    def describe(self) -> dict[str, Any]:
        """Return family, class, denoising, tokenizer, sizes and uses, from the configuration and the files' headers."""
        from .adapter.description import describe

        return describe(self)
