"""``diffusion_gemma``: DiffusionGemma, an encoder and a decoder over a canvas of tokens. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from tide_specs import Architecture, Corruption, Denoiser, Evaluator, Form, Mix, Role, Runtime, TextTokenizer

from .huggingface import read_settings

CANVAS_LENGTH = 256
"""Tokens of a canvas where no configuration says otherwise."""


class DiffusionGemma(Architecture):
    """DiffusionGemma, through transformers' own classes: a causal encoder, and a decoder that denoises a canvas.

    The encoder reads clean tokens and keeps their keys and values. The decoder reads one canvas of noised tokens, which see
    each other both ways and everything clean before the canvas. Tokens are noised by replacing them with random ones, so that
    there is no mask token and the run needs a corruption without one, such as `uniform`. In training a row is split into canvases
    from its start, and one pass of the encoder serves all of them. Text only: the vision tower is kept and saved, never
    trained.

    `self_conditioning` trains the decoder to read its own prediction, as it does when sampler `canvas` decodes.
    """

    name: Literal["diffusion_gemma"] = "diffusion_gemma"

    model: str | None = Field(default=None, description="directory or hub name of pretrained weights")
    config: dict[str, Any] | None = Field(
        default=None,
        description="`text_config` and other parts of config.json for a model with random weights, instead of `model`",
    )
    tokenizer_from: str | None = Field(
        default=None,
        description="directory, hub name or `package:NAME` of the tokenizer when it differs from `model`",
    )
    canvas_length: PositiveInt | None = Field(
        default=None, description="tokens of a canvas; default: what config.json says"
    )
    self_conditioning: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="share of a student's rows, drawn at random, whose canvases are read twice in training: the second time "
        "the decoder also reads its first prediction",
    )
    freeze: tuple[str, ...] = Field(
        default=(), description="patterns of parameter names that are not trained, e.g. `*.embed_tokens.*`"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.model is None) == (self.config is None):
            raise ValueError("give exactly one of `model` (pretrained weights) and `config` (random weights)")
        if self.config is not None and self.tokenizer_from is None:
            raise ValueError("a model made from `config` has no tokenizer of its own: give `tokenizer_from`")
        if self.config is not None and not isinstance(self.config.get("text_config"), dict):
            raise ValueError(
                "`config` needs a `text_config`, e.g. {text_config: {hidden_size: 64, num_experts: 4, ...}}"
            )
        return self

    @classmethod
    def recognises(cls, path: str) -> bool:
        """By the model type in ``config.json``."""
        return read_settings(path).get("model_type") == "diffusion_gemma"

    @property
    def usual_sampler(self) -> str:
        """The sampler that revises a canvas of random tokens."""
        return "canvas"

    @property
    def denoiser_form(self) -> Form:
        """A canvas is a block, and earlier blocks are read clean."""
        return "block_diffusion"

    @property
    def canvas(self) -> int:
        """Tokens of a canvas: the option, or else what the configuration says."""
        settings = self.config if self.config is not None else read_settings(str(self.model))
        return int(self.canvas_length or settings.get("canvas_length") or CANVAS_LENGTH)

    @property
    def length_multiple(self) -> int:
        """Rows are filled up to whole canvases."""
        return self.canvas

    def attention_needs(self) -> frozenset[str]:
        """The encoder is causal; a canvas lies behind clean tokens as it would behind a cache."""
        return frozenset({"causal", "cached"})

    def conflicts(self, mix: Mix) -> Iterable[str]:
        """Refuse what hides tokens behind a mask token: this model has none, and would read the answer instead."""
        for corruption in mix.of("corruption"):
            if isinstance(corruption, Corruption) and corruption.needs_mask_token():
                yield (
                    f"corruption '{corruption.name}' hides tokens behind a mask token, and DiffusionGemma has none: it reads "
                    "tokens replaced by random ones. Use a corruption that replaces tokens: `corruption: uniform`"
                )
        for evaluator in mix.of("evaluator"):
            asked = mix.roles.get("student") == self or (isinstance(evaluator, Evaluator) and evaluator.uses_teacher)
            if isinstance(evaluator, Evaluator) and evaluator.needs_mask_token and asked:
                yield (
                    f"evaluation '{evaluator.name}' hides tokens behind a mask token, and DiffusionGemma has none: leave it out"
                )

    def check(self, *, trust_remote_code: bool) -> None:
        """Look for missing, truncated and pickled files, another model type, and options that the family does not have."""
        from .adapter.gemma_loading import check

        check(self)

    def tokenizer(self, role: Role) -> TextTokenizer:
        """Return the tokenizer; a mask token that it may have is not used."""
        from .adapter.gemma_loading import read_tokenizer

        return read_tokenizer(self)

    def load(self, role: Role, runtime: Runtime) -> Denoiser:
        """Load or initialise the model."""
        from .adapter.gemma_loading import load

        return load(self, role, runtime)

    def saved_at(self, path: str) -> Self:
        """Return the component for a saved model, whose config.json holds the canvas length."""
        return type(self)(model=path, self_conditioning=self.self_conditioning, freeze=self.freeze)

    def plan(self) -> dict[str, Any]:
        """Return parameter counts and sizes, from the configuration alone, on the meta device."""
        from .adapter.gemma_loading import plan

        return plan(self)
